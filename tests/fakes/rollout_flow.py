"""A pipeline with a stable revision and an approved one beside it, and a rollout between them, in memory."""

from __future__ import annotations

from typing import Any

from services.guardrail.domain.records import Deployment
from services.guardrail.domain.rollout import RolloutRecord
from services.guardrail.use_cases.rollouts.advancing import advance_all
from services.guardrail.use_cases.rollouts.controlling import control_rollout
from services.guardrail.use_cases.rollouts.observing import Pace, observe_run
from services.guardrail.use_cases.rollouts.starting import start_rollout
from shared.events.message import Message
from shared.events.rollouts import ControlRollout, RolloutControlled, RolloutPlan, RolloutStep, StartRollout
from shared.events.runs import RunFinished
from tests.fakes.guardrail import bench, facts, pipeline

HALF = RolloutPlan(
    steps=(RolloutStep(share=0.1, minutes=1, sample=5), RolloutStep(share=0.5, minutes=1, sample=5), RolloutStep(share=1.0)),
    watch_runs=20,
)
BETTER = pipeline("Say the tone of: {{ text }}")


class Flow:
    """A pipeline with a stable revision and an approved one beside it."""

    def __init__(self, **proposed: Any) -> None:
        """`proposed`: fields of the proposal of the revision that is rolled out."""
        self.bench, self.proposed = bench(), proposed
        self.pace = Pace(self.bench.at)
        self.stable, self.canary, self.runs, self.messages = "", "", 0, 0

    async def begin(self, plan: RolloutPlan = HALF, **fields: Any) -> RolloutRecord:
        await self.bench.propose(pipeline())
        self.stable = (await self.deployment()).stable
        (approved,) = await self.bench.propose(BETTER, "c2", deploy=False, **self.proposed)
        self.canary = str(getattr(approved, "digest"))  # noqa: B009  a union of facts
        assert is_done(await self.start(plan, **fields))
        return await self.record()

    async def start(self, plan: RolloutPlan | None = HALF, **fields: Any) -> list[Message]:
        given = {"rollout_id": "r1", "pipeline": "triage", "digest": self.canary[:12], "plan": plan, "author": "ada", **fields}
        return facts(await start_rollout(StartRollout.model_validate(given), self.bench.at))

    async def control(self, verb: str, author: str = "grace", *, message_id: str = "", **fields: Any) -> list[Message]:
        given = {"rollout_id": "r1", "verb": verb, "author": author, "reason": "because", **fields}
        command = ControlRollout.model_validate(given)
        self.messages += 1
        return facts(await control_rollout(command, self.bench.at, message_id=message_id or f"m{self.messages}"))

    async def record(self) -> RolloutRecord:
        found = await self.bench.at.rollouts.get("r1")
        assert found is not None
        return found

    async def deployment(self) -> Deployment:
        found = await self.bench.at.deployments.get("triage")
        assert found is not None
        return found

    async def ran(self, arm: str, count: int = 1, status: str = "succeeded", **fields: Any) -> None:
        for _ in range(count):
            self.runs += 1
            await self.ended(f"run-{self.runs}", arm, status, **fields)

    async def ended(self, run_id: str, arm: str, status: str = "succeeded", **fields: Any) -> None:
        await observe_run(run(run_id, arm, status, **fields), self.pace)

    async def pass_minutes(self, minutes: float) -> None:
        self.bench.clock.pass_seconds(minutes * 60)
        await advance_all(self.bench.at)

    def said(self, kind: type[Message]) -> list[Any]:
        return [fact for fact in self.bench.announcer.said.values() if isinstance(fact, kind)]

    def order(self) -> list[str]:
        return [type(fact).__name__ for fact in self.bench.announcer.said.values()]


def is_done(told: list[Message]) -> bool:
    return [type(fact) for fact in told] == [RolloutControlled]


def run(run_id: str, arm: str, status: str = "succeeded", **fields: Any) -> RunFinished:
    given = {
        "run_id": run_id,
        "pipeline": "triage",
        "digest": "d" * 64,
        "domain": "support",
        "purpose": "production",
        "status": status,
        "latency_seconds": 1.0,
        "arm": arm,
        "rollout_id": "r1",
        "finished_at": f"2026-11-22T12:00:00.{abs(hash(run_id)) % 1000:03d}",
        **fields,
    }
    return RunFinished.model_validate(given)
