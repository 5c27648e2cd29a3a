"""The evaluation file of openevolve, and its model: both run in its worker processes and ask the peer's process by a socket."""

from __future__ import annotations

import json
import os
import re
import socket
from pathlib import Path
from typing import Any

SOCKET = "EVOLUTION_BENCH_SOCKET"
DEV = "EVOLUTION_BENCH_DEV"
_PROGRAM = re.compile(r"# Current Program\n```json\n(.*?)```", re.DOTALL)


def asked(message: dict[str, Any]) -> dict[str, Any]:
    with socket.socket(socket.AF_UNIX) as line:
        line.connect(os.environ[SOCKET])
        line.sendall(json.dumps(message).encode() + b"\n")
        with line.makefile() as answer:
            heard: dict[str, Any] = json.loads(answer.readline())
    return heard


def evaluate(program_path: str) -> dict[str, float]:
    """Mean over all dev cases. What is over the budget is worth nothing."""
    candidate = json.loads(Path(program_path).read_text())
    answer = asked({"evaluate": candidate, "cases": json.loads(os.environ[DEV])})
    scores = answer.get("scores") or [0.0]
    return {"combined_score": sum(scores) / len(scores)}


class SharedProposer:
    """openevolve's model: answers with what the proposer that all competitors share makes of the current program."""

    async def generate(self, prompt: str, **options: Any) -> str:
        return await self.generate_with_context("", [{"role": "user", "content": prompt}])

    async def generate_with_context(self, system_message: str, messages: list[dict[str, str]], **options: Any) -> str:
        parent = _PROGRAM.search(messages[-1]["content"])
        assert parent is not None, "the prompt holds the current program"
        child = asked({"propose": json.loads(parent.group(1)), "component": None})["proposed"]
        return f"```json\n{json.dumps(child)}\n```"


def proposer(settings: Any) -> SharedProposer:
    return SharedProposer()
