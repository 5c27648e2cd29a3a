"""What a rollout counts: each run once, whoever tells it and whatever crashes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest

from services.guardrail.domain.rollout import RolloutRecord
from services.guardrail.ports import LostRaceError
from services.guardrail.use_cases.rollouts.advancing import advance
from services.guardrail.use_cases.rollouts.observing import Pace, observe_run, report_outcome
from shared.events.rollouts import ReportOutcome
from tests.fakes.guardrail import Bench, facts
from tests.fakes.rollout_flow import HALF, Flow, run


async def test_a_report_before_the_runs_end_counts_once_and_the_first_one_only() -> None:
    flow = Flow()
    await flow.begin()
    for score in (0.25, 0.75):
        (fact,) = facts(await report_outcome(ReportOutcome(run_id="a", score=score), flow.pace))
        assert getattr(fact, "score") == 0.25  # noqa: B009
    await flow.ended("a", "canary")
    await report_outcome(ReportOutcome(run_id="a", score=0.5), flow.pace)
    assert (await flow.record()).evidence.quality.waiting == (0.25,)


async def test_a_run_counts_once_however_often_and_wherever_it_is_told() -> None:
    flow = Flow()
    await flow.begin()
    other = Pace(flow.bench.at)
    for pace in (flow.pace, other, flow.pace):
        for number in range(6):
            await observe_run(run(f"same-{number}", "canary"), pace)
    assert (await flow.record()).evidence.canary.runs == 6


@pytest.mark.parametrize(
    "fields", [{"status": "cancelled"}, {"replayed": True}, {"retries": 1}, {"purpose": "trial"}, {"arm": ""}, {"rollout_id": None}]
)
async def test_what_says_nothing_about_a_revision_is_not_counted(fields: dict[str, Any]) -> None:
    flow = Flow()
    await flow.begin()
    await observe_run(run("odd", "canary").model_copy(update=fields), flow.pace)
    assert (await flow.record()).evidence.canary.runs == 0


class CrashError(Exception):
    """Where the process ends."""


async def ends_alike(crash_after: int) -> tuple[Sequence[str], dict[str, Any]] | None:
    """The facts and the end of a rollout whose process dies at its n-th write or message; None where it never gets there."""
    flow = Flow()
    await flow.begin(HALF.model_copy(update={"watch_runs": 0}))
    crashing = _Crashing(flow.bench, crash_after)
    for number in range(8):
        for arm, status in (("control", "succeeded"), ("canary", "failed")):
            try:
                await flow.ended(f"{arm}-{number}", arm, status, unit_id=f"of-{arm}-{number}")
            except CrashError:
                flow.pace = Pace(flow.bench.at)
                await flow.ended(f"{arm}-{number}", arm, status, unit_id=f"of-{arm}-{number}")
    crashing.left = 0
    await advance("r1", flow.bench.at)
    record = await flow.record()
    facts_told = [type(fact).__name__ for fact in flow.bench.announcer.said.values()]
    kept = record.model_dump(mode="json", include={"state", "quarantined", "facts", "moves", "closed"})
    counted = {"runs": record.evidence.canary.runs, "stable": (await flow.deployment()).stable == flow.stable}
    return (facts_told, {**kept, **counted}) if crashing.has_crashed or crash_after == 0 else None


class _Crashing:
    """Raises before the n-th call of what changes something, once."""

    def __init__(self, on: Bench, crash_after: int) -> None:
        self.left, self.has_crashed = crash_after, False
        written: tuple[tuple[Any, tuple[str, ...]], ...] = (
            (on.at.rollouts, ("save", "mark", "note", "counted_before")),
            (on.at.deployments, ("swap",)),
            (on.at.announcer, ("announce",)),
            (on.at.revisions, ("quarantine",)),
        )
        for port, names in written:
            for name in names:
                setattr(port, name, self._counted(getattr(port, name)))

    def _counted(self, call: Any) -> Any:
        async def counted(*given: Any, **named: Any) -> Any:
            self.left -= 1
            if self.left == 0:
                self.has_crashed = True
                raise CrashError
            return await call(*given, **named)

        return counted


async def test_a_crash_before_any_write_changes_neither_the_end_nor_the_facts() -> None:
    undisturbed = await ends_alike(0)
    assert undisturbed is not None
    assert undisturbed[1]["state"] == "rolled_back"
    tried = 0
    for crash_after in range(1, 200):
        disturbed = await ends_alike(crash_after)
        if disturbed is None:
            break
        tried += 1
        assert disturbed == undisturbed, f"crash before write {crash_after}"
    assert tried > 20


async def test_a_lost_race_is_tried_again_and_counts_nothing_twice() -> None:
    flow = Flow()
    await flow.begin()
    save, lost = flow.bench.at.rollouts.save, [3]

    async def losing(record: RolloutRecord) -> RolloutRecord:
        if lost[0]:
            lost[0] -= 1
            raise LostRaceError("another process was faster")
        return await save(record)

    flow.bench.at.rollouts.save = losing  # type: ignore[method-assign]
    await flow.ran("canary", 4)
    assert lost == [0]
    assert (await flow.record()).evidence.canary.runs == 4
