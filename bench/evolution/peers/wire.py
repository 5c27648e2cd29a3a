"""A peer's end of the wire: JSON lines with the evaluation server, which counts, over the standard input and output."""

from __future__ import annotations

import json
import os
import sys
import threading
from collections.abc import Callable
from typing import Any


class OverBudgetError(BaseException):
    """The server refused: the budget is used up. No `Exception`: no peer may catch it as a failed evaluation and go on."""


class Wire:
    """What the peer's libraries print goes to the standard error."""

    def __init__(self) -> None:
        self._out = os.fdopen(os.dup(1), "w")
        os.dup2(2, 1)
        self._turn = threading.Lock()

    def scores(self, candidate: dict[str, str], cases: list[str]) -> list[float]:
        answer = self.ask({"evaluate": candidate, "cases": list(cases)})
        if "over" in answer:
            raise OverBudgetError(answer["over"])
        return list(answer["scores"])

    def proposed(self, parent: dict[str, str], component: str | None) -> dict[str, str]:
        """From the proposer that all competitors share."""
        return dict(self.ask({"propose": parent, "component": component})["proposed"])

    def step(self, best: dict[str, str]) -> None:
        """Tells what would be given if it ended here."""
        self.ask({"step": best})

    def ask(self, message: dict[str, Any]) -> dict[str, Any]:
        with self._turn:
            self.say(message)
            return self.hear()

    def say(self, message: dict[str, Any]) -> None:
        self._out.write(json.dumps(message) + "\n")
        self._out.flush()

    def hear(self) -> dict[str, Any]:
        line = sys.stdin.readline()
        if not line:
            os._exit(0)
        heard: dict[str, Any] = json.loads(line)
        return heard


def serve(version: str, solve: Callable[[dict[str, Any], Wire], dict[str, Any]]) -> None:
    """Tasks come in, one after another; `done` with the best candidate and the claimed gain ends each."""
    wire = Wire()
    wire.say({"ready": version})
    while True:
        wire.say({"done": solve(wire.hear(), wire)})
