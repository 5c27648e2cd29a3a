"""Other services and computations, in memory."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from services.executor.ports import Allowance
from shared.events.changes import ProposeChange
from shared.events.message import Query
from shared.events.runs import ExecuteRun, RunFinished
from shared.pipeline.functions import compute


@dataclass
class ScriptedBusChildren:
    """Ends nested runs as `ends` says, or has them run by `runs`; without either they never end."""

    ends: Callable[[ExecuteRun], RunFinished] | None = None
    runs: Callable[[ExecuteRun], Awaitable[RunFinished | None]] | None = None
    commands: list[ExecuteRun] = field(default_factory=list)
    cancelled: list[str] = field(default_factory=list)

    async def run_all(
        self, commands: Sequence[ExecuteRun], *, max_in_flight: int, deadline_seconds: float
    ) -> dict[str, RunFinished]:
        self.commands.extend(commands)
        if self.runs is not None:
            places = asyncio.Semaphore(max_in_flight)
            ends = await asyncio.gather(*(self._run(command, places) for command in commands))
            return {end.run_id: end for end in ends if end is not None}
        if self.ends is None:
            await asyncio.sleep(deadline_seconds)
            return {}
        return {command.run_id: self.ends(command) for command in commands}

    async def _run(self, command: ExecuteRun, places: asyncio.Semaphore) -> RunFinished | None:
        assert self.runs is not None
        async with places:
            # Another executor runs it, whatever becomes of this one.
            return await asyncio.shield(asyncio.ensure_future(self.runs(command)))

    async def cancel(self, runs: Mapping[str, int], reason: str) -> None:
        self.cancelled.extend(runs)


@dataclass
class ScriptedQuestions:
    answers: dict[type[Query], Any] = field(default_factory=dict)
    asked: list[Query] = field(default_factory=list)

    async def ask(self, query: Query) -> dict[str, Any]:
        self.asked.append(query)
        answer = self.answers.get(type(query), {})
        if isinstance(answer, Exception):
            raise answer
        return dict(answer(query) if callable(answer) else answer)


@dataclass
class InProcessComputations:
    """Computes at once and here; `allowances` is what was granted to each call."""

    allowances: list[Allowance] = field(default_factory=list)

    async def compute(self, name: str, arguments: Mapping[str, Any], allowance: Allowance) -> Any:
        self.allowances.append(allowance)
        return compute(name, arguments)


@dataclass
class ScriptedProposals:
    decision: str = "approved"
    changes: list[ProposeChange] = field(default_factory=list)

    async def propose(self, change: ProposeChange, wait_seconds: float) -> dict[str, Any]:
        self.changes.append(change)
        return {"change_id": change.change_id, "decision": self.decision, "rollout_id": None, "reasons": []}
