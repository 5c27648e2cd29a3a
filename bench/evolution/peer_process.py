"""A competitor in an environment of its own, asked over its standard input and output. What it may evaluate is counted here."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from bench.evolution.problems import EvaluationServer, Found, OverBudgetError, Problem, Propose
from bench.evolution.rows import FOLDER, ROOT

PEERS = Path(__file__).parent / "peers"


class PeerError(Exception):
    """The peer's process ended, or said what it must not."""


class PeerProcess:
    """Started at its first problem; one process for all problems."""

    def __init__(
        self, name: str, library: str, options: Mapping[str, Any] | None = None, *, part: float = 1.0, python: Path | None = None
    ) -> None:
        """`part`: of the problems that others get, where it is slow. `python`: of another environment than its own."""
        self.name = name
        self.library = library
        self.part = part
        self.python = python or ROOT / f".venv-bench-{library}" / "bin" / "python"
        self._options = dict(options or {})
        self._process: subprocess.Popen[str] | None = None
        self.version = ""

    def __enter__(self) -> Self:
        FOLDER.mkdir(parents=True, exist_ok=True)
        with (FOLDER / f"{self.library}.log").open("ab") as log:
            self._process = subprocess.Popen(
                [str(self.python), str(PEERS / f"{self.library}_peer.py")],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
                text=True,
                cwd=FOLDER,
                env={**os.environ, "PYTHONPATH": str(ROOT)},
            )
        try:
            self.version = str(self._hear()["ready"])
        except BaseException:
            self._close()
            raise
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._close()

    def _close(self) -> None:
        process, self._process = self._process, None
        assert process is not None and process.stdin is not None and process.stdout is not None
        process.stdin.close()
        try:
            process.wait(10)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        process.stdout.close()

    def solve(self, problem: Problem) -> Found:
        server, propose = EvaluationServer(problem.evaluate, problem.budget), problem.propose()
        task = {"seed_candidate": dict(problem.seed), "train": list(problem.train), "dev": list(problem.dev)}
        self._say({**task, "budget": problem.budget, "seed": problem.number, "options": self._options})
        steps: list[tuple[int, dict[str, str]]] = []
        while "done" not in (message := self._hear()):
            if "step" in message:
                steps.append((server.spent, message["step"]))
                self._say({})
            else:
                self._say(_answer(message, server, propose))
        done = message["done"]
        if done["best"].keys() != problem.seed.keys():
            raise PeerError(f"{self.name} gave {done['best']} as its best")
        return Found(done["best"], done["claim"], server.spent, steps=tuple(steps))

    def _say(self, message: Mapping[str, Any]) -> None:
        assert self._process is not None and self._process.stdin is not None
        self._process.stdin.write(json.dumps(message) + "\n")
        self._process.stdin.flush()

    def _hear(self) -> dict[str, Any]:
        assert self._process is not None and self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            raise PeerError(f"{self.name} ended with code {self._process.wait(5)}; see {FOLDER / self.library}.log")
        heard: dict[str, Any] = json.loads(line)
        return heard


def _answer(message: Mapping[str, Any], server: EvaluationServer, propose: Propose) -> dict[str, Any]:
    if "propose" in message:
        return {"proposed": propose(message["propose"], message["component"])}
    try:
        return {"scores": server.scores(message["evaluate"], message["cases"])}
    except OverBudgetError as over:
        return {"over": str(over)}
