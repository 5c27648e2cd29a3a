"""Rollouts: start, steer, ask, report. Each command returns the fact that answers it."""

from __future__ import annotations

from typing import Any

from evoline.client.talk import Talk, hold
from shared.errors import InvalidInputError
from shared.events import Command
from shared.events.rollouts import (
    ControlRollout,
    GetRollout,
    ListRollouts,
    OutcomeReported,
    ReportOutcome,
    RolloutControlled,
    RolloutPlan,
    RolloutRefused,
    RolloutVerb,
    StartRollout,
)
from shared.messaging.bus import Bus


class Rollouts:
    """Every method raises InvalidInputError where the guardrail refuses, with what can be done instead, and UnavailableError where
    nothing is told in time."""

    def __init__(self, bus: Bus, *, author: str = "anonymous") -> None:
        self._bus = bus
        self._author = author

    async def start(
        self,
        rollout_id: str,
        pipeline: str,
        digest: str,
        *,
        plan: RolloutPlan | None = None,
        reason: str = "",
        timeout_seconds: float = 30,
    ) -> RolloutControlled:
        """The same id again is the same rollout."""
        command = StartRollout(
            rollout_id=rollout_id, pipeline=pipeline, digest=digest, plan=plan, reason=reason, author=self._author
        )
        return await self._done(command, rollout_id, "start", timeout_seconds)

    async def control(
        self, rollout_id: str, verb: RolloutVerb, reason: str = "", *, step: int | None = None, timeout_seconds: float = 30
    ) -> RolloutControlled:
        """`step`: the number, from 1, of the step that is approved."""
        command = ControlRollout(rollout_id=rollout_id, verb=verb, reason=reason, step=step, author=self._author)
        return await self._done(command, rollout_id, verb, timeout_seconds)

    async def get(self, rollout_id: str) -> dict[str, Any]:
        """By id, or a pipeline's latest one by its name. Raises NotFoundError."""
        return await self._bus.ask(GetRollout(rollout_id=rollout_id))

    async def list(self, *, pipeline: str | None = None, open_only: bool = False, limit: int = 20) -> list[dict[str, Any]]:
        answer = await self._bus.ask(ListRollouts(pipeline=pipeline, open_only=open_only, limit=limit))
        rows: list[dict[str, Any]] = answer["rollouts"]
        return rows

    async def report(self, run_id: str, score: float, comment: str = "", *, timeout_seconds: float = 30) -> OutcomeReported:
        """The score that is kept: the first one reported of the run."""
        command = ReportOutcome(run_id=run_id, score=score, comment=comment, author=self._author)
        talk = Talk(
            key=run_id,
            command=command,
            ends=(OutcomeReported,),
            belongs=lambda fact: getattr(fact, "run_id", "") == run_id,
            timeout_seconds=timeout_seconds,
        )
        fact = await hold(self._bus, talk)
        assert isinstance(fact, OutcomeReported)
        return fact

    async def _done(self, command: Command, rollout_id: str, verb: str, seconds: float) -> RolloutControlled:
        talk = Talk(
            key=rollout_id,
            command=command,
            ends=(RolloutControlled, RolloutRefused),
            belongs=lambda fact: (getattr(fact, "rollout_id", ""), getattr(fact, "verb", "")) == (rollout_id, verb),
            timeout_seconds=seconds,
            look_later=f"evoline rollout status {rollout_id}",
        )
        fact = await hold(self._bus, talk)
        if isinstance(fact, RolloutRefused):
            raise InvalidInputError(fact.reason)
        assert isinstance(fact, RolloutControlled)
        return fact
