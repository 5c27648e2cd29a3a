"""Executors under quotas of production runs; the guardrail that answers them is the real one, in memory."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import pytest

from services.executor.domain.quotas import Charged, Lease, most_of
from services.executor.use_cases.quotas import REFUSED_SECONDS, RULES_SECONDS
from services.guardrail.domain.budgets import Amounts, QuotaRules, day_of
from services.guardrail.domain.policy import Policy
from services.guardrail.ports import LeaseUse
from services.guardrail.use_cases import lease_quota, report_use, sweep_budgets
from services.guardrail.use_cases.production import LEASE_SECONDS
from services.guardrail.use_cases.settling import LEASE_GRACE_SECONDS
from shared.clock import SystemClock
from shared.errors import UnavailableError
from shared.events.answers import Answered
from shared.events.message import Query
from shared.events.quotas import CountLease, LeaseQuota, ReportUse, Spent
from shared.events.runs import ExecuteRun, RunFinished
from shared.pipeline.document import Limits
from tests.fakes.durable_boundaries import Boundaries, WatchedDatabase
from tests.fakes.executor import ExecutorKit, Notary
from tests.fakes.guardrail import Bench, bench, shipped_policy
from tests.fakes.guardrail_ports import StillClock
from tests.fakes.language_model import ScriptedModel
from tests.fakes.storage import InMemoryDatabase

PIPELINE = "production_pipeline:triage"
DOCUMENT = {
    "name": "triage",
    "domain": "support",
    "limits": {"calls": 4},
    "steps": [{"name": "a", "type": "claude", "prompt": "a?"}],
}


def guarded(**defaults: Any) -> Bench:
    rules = QuotaRules.model_validate({"defaults": defaults})
    return bench(policy=Policy(shipped_policy().document.model_copy(update={"quotas": rules})))


@dataclass
class ToGuardrail:
    at: Bench
    answers: bool = True

    async def ask(self, query: Query) -> dict[str, Any]:
        if not self.answers:
            raise UnavailableError("nobody answers")
        if isinstance(query, LeaseQuota):
            return await lease_quota(query, self.at.at)
        assert isinstance(query, ReportUse)
        return await report_use(query, self.at.at)


class RestingClock(SystemClock):
    """The guardrail's time, but who sleeps lets others work."""

    def __init__(self, still: StillClock) -> None:
        self._still = still

    def now(self) -> datetime:
        return self._still.now()

    def monotonic(self) -> float:
        return self._still.monotonic()


@dataclass
class Stack:
    """One guardrail and executors that share its store and clock."""

    at: Bench
    questions: ToGuardrail
    kits: list[ExecutorKit]

    async def run(self, run_id: str, kit: int = 0, **fields: Any) -> RunFinished:
        return await self.kits[kit].execute(ExecuteRun(run_id=run_id, pipeline="triage", **fields))

    async def standing(self, account: str = PIPELINE) -> tuple[Amounts, Amounts]:
        (found,) = await self.at.at.budgets.standings(day_of(self.at.clock.now()), [account])
        return found.used, found.reserved

    async def tell(self, *, at_stop: bool = False) -> None:
        for kit in self.kits:
            await kit.quotas.tell(at_stop=at_stop)


async def stack(executors: int = 1, **defaults: Any) -> Stack:
    at = guarded(**defaults)
    await sweep_budgets(at.at)
    questions, store, clock = ToGuardrail(at), InMemoryDatabase(), RestingClock(at.clock)
    kits = [ExecutorKit(database=store, guardrail=at.database, name=f"e{number}", clock=clock) for number in range(executors)]
    notary = Notary(now=at.clock.now)
    for kit in kits:
        kit.notary = notary
        kit.questions = questions  # type: ignore[assignment]
        kit.__post_init__()
    at.at.sealing.count_lease = counted_by(kits[0])  # type: ignore[method-assign]
    await notary.deploy(at.database, DOCUMENT)
    return Stack(at, questions, kits)


def counted_by(kit: ExecutorKit) -> Any:
    async def count_lease(lease_id: str) -> LeaseUse:
        answer: Any = await kit.quotas.count(CountLease(lease_id=lease_id))
        return LeaseUse(Amounts(**{name: answer["used"][name] for name in ("runs", "calls", "tokens")}), answer["running"])

    return count_lease


async def test_a_quota_is_used_fully_by_all_executors_together_and_then_runs_are_refused() -> None:
    on = await stack(3, production_pipeline={"runs": 20})
    ended = [await on.run(f"r{number}", number % 3) for number in range(20)]
    refused = [await on.run(f"late{number}", number) for number in range(3)]
    assert sum(each.status == "succeeded" for each in ended) == 20
    assert {(each.status, each.error_code) for each in refused} == {("refused", "limit_reached:quota_exhausted")}
    for part in (PIPELINE, "20 runs", "2026-11-23T00:00Z"):
        assert part in refused[0].error
    await on.tell(at_stop=True)
    used, reserved = await on.standing()
    assert (used.runs, reserved) == (20, Amounts())
    assert [each.action for each in await on.at.at.audit.entries() if each.action.startswith("quota")] == [
        "quotas.changed",
        "quota.exhausted",
    ]


@pytest.mark.parametrize(
    ("resource", "limit", "too_little"),
    [("runs", 1, 0), ("calls", 4, 3), ("tokens", 200_000, 199_999), ("cost_usd", 2, 1.999999), ("wall_seconds", 300, 299.999)],
)
async def test_every_resource_that_a_quota_names_is_held_for_a_run_before_it_begins(
    resource: str, limit: float, too_little: float
) -> None:
    refused = await (await stack(production_pipeline={resource: too_little})).run("r0")
    assert (refused.status, refused.error_code) == ("refused", "limit_reached:quota_exhausted")
    on = await stack(production_pipeline={resource: limit})
    assert (await on.run("r0")).status == "succeeded"
    _, reserved = await on.standing()
    assert getattr(reserved.spent(), resource) == limit


async def test_a_lease_serves_many_runs_and_what_it_did_not_serve_comes_back() -> None:
    on = await stack(production_pipeline={"runs": 1000, "calls": 3000})
    for number in range(10):
        assert (await on.run(f"r{number}")).status == "succeeded"
    assert (await on.standing())[1].runs == 50
    await on.tell(at_stop=True)
    used, reserved = await on.standing()
    assert (used.runs, used.calls, reserved) == (10, 10, Amounts())
    (domain_used, _), (system_used, _) = await on.standing("production_domain:support"), await on.standing("system")
    assert domain_used == system_used == used


async def test_fifty_runs_at_once_on_five_executors_never_pass_the_quota() -> None:
    on = await stack(5, production_domain={"calls": 37 * 4})
    ended = await asyncio.gather(*(on.run(f"r{number}", number % 5) for number in range(50)))
    used, reserved = await on.standing("production_domain:support")
    assert sum(each.status == "succeeded" for each in ended) >= 37 - 5 * 4
    assert used.calls + reserved.calls <= 37 * 4
    await on.tell(at_stop=True)
    assert (await on.standing("production_domain:support"))[0].calls == sum(each.usage.calls for each in ended)


async def test_what_a_killed_executor_used_stays_charged_and_the_rest_comes_back() -> None:
    on = await stack(2, production_pipeline={"runs": 100})
    for number in range(4):
        await on.run(f"r{number}")
    # From here on the executor does and says nothing more.
    on.at.clock.pass_seconds(LEASE_SECONDS + LEASE_GRACE_SECONDS - 1)
    assert await sweep_budgets(on.at.at) == 0
    on.at.clock.pass_seconds(1)
    assert await sweep_budgets(on.at.at) == 1
    assert await on.standing() == (Amounts(runs=4, calls=4, tokens=(await on.standing())[0].tokens), Amounts())


async def test_a_run_that_goes_on_keeps_its_lease_from_being_settled() -> None:
    on = await stack(production_pipeline={"runs": 100})
    hanging = asyncio.Event()

    class Hangs(ScriptedModel):
        async def complete(self, request: Any) -> Any:
            hanging.set()
            await asyncio.Event().wait()

    on.kits[0].model = Hangs()
    on.kits[0].__post_init__()
    task = asyncio.create_task(on.run("r0"))
    await hanging.wait()
    on.at.clock.pass_seconds(LEASE_SECONDS + LEASE_GRACE_SECONDS)
    await on.tell()
    assert await sweep_budgets(on.at.at) == 0
    assert (await on.standing())[1].runs > 0
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


async def test_without_the_guardrail_a_lease_serves_on_and_then_runs_wait() -> None:
    on = await stack(production_pipeline={"runs": 100})
    assert (await on.run("r0")).status == "succeeded"
    on.questions.answers = False
    for number in range(1, 25):
        assert (await on.run(f"r{number}")).status == "succeeded"
    with pytest.raises(UnavailableError):
        await on.run("r25")
    assert await on.kits[0].runs.get("r25") is None
    on.questions.answers = True
    assert (await on.run("r25")).status == "succeeded"


LEASES: dict[str, dict[str, Any]] = {
    "nothing": {"runs": None, "amounts": None, "seconds": None, "lease_id": None},
    "of another question": {"lease_id": "another"},
    "negative amounts": {"amounts": {"runs": -50}},
    "amounts that are no numbers": {"amounts": {"runs": float("nan")}},
    "more than was asked for": {"runs": 50, "amounts": {"runs": 5000}},
    "more runs than were asked for": {"runs": 100_000, "amounts": {"runs": 100_000}},
    "less than one run": {"runs": 1, "amounts": {"runs": 0}},
    "over before it begins": {"seconds": -1},
    "never over": {"seconds": float("inf")},
    "words": {"amounts": "plenty", "seconds": "always"},
}


@pytest.mark.parametrize("change", LEASES)
async def test_a_lease_that_is_no_answer_to_what_was_asked_begins_no_run(change: str) -> None:
    on = await stack(production_pipeline={"runs": 100})
    honest = on.questions.ask

    async def ask(query: Query) -> dict[str, Any]:
        given = {name: value for name, value in {**await honest(query), **LEASES[change]}.items() if value is not None}
        return Answered(given, query.subject) if isinstance(query, LeaseQuota) else given

    on.questions.ask = ask  # type: ignore[method-assign]
    with pytest.raises(UnavailableError, match=r"answer to api\.guardrail\.lease_quota is not one that can be used"):
        await on.run("r0")
    assert await on.kits[0].runs.get("r0") is None
    on.questions.ask = honest  # type: ignore[method-assign]
    assert (await on.run("r0")).status == "succeeded"


@pytest.mark.parametrize(
    ("resource", "least"), [("runs", 1), ("calls", 1), ("tokens", 1), ("cost_usd", 0.000001), ("wall_seconds", 0.001)]
)
@pytest.mark.parametrize("sign", [1, -1])
async def test_a_lease_of_the_least_more_or_less_than_its_runs_need_begins_no_run(resource: str, least: float, sign: int) -> None:
    on = await stack(production_pipeline={"runs": 5000, "calls": 1e6, "tokens": 5e9, "cost_usd": 40_000, "wall_seconds": 1e8})
    honest = on.questions.ask

    async def ask(query: Query) -> dict[str, Any]:
        given = await honest(query)
        if isinstance(query, LeaseQuota):
            given = {**given, "amounts": {**given["amounts"], resource: given["amounts"][resource] + sign * least}}
            assert given["runs"] == 50
        return given

    on.questions.ask = ask  # type: ignore[method-assign]
    with pytest.raises(UnavailableError, match=f"{resource} for 50 runs of"):
        await on.run("r0")
    on.questions.ask = honest  # type: ignore[method-assign]
    assert (await on.run("r0")).status == "succeeded"


@pytest.mark.parametrize(("dollars", "seconds"), [(0.05, 300.0), (0.0000014, 0.0004), (0.1 + 0.2, 1.0006), (99_999.999999, 86_400)])
def test_what_a_run_holds_is_counted_exactly_and_never_less_than_it_may_use(dollars: float, seconds: float) -> None:
    limits = Limits(cost_usd=dollars, seconds=seconds)
    held = most_of(limits, frozenset(("cost_usd", "wall_seconds")))
    assert dollars - 1e-9 <= held.cost_usd < dollars + 1e-6
    assert seconds - 1e-6 <= held.wall_seconds < seconds + 1e-3
    assert Amounts.of_spent(held).spent() == held
    assert Lease("l1", Charged("triage", "support", False), Amounts.of_spent(held).spent(), 1.0).take("r1", held, 0.0)


async def test_where_no_quota_is_set_a_run_asks_and_writes_nothing_more_and_is_counted_all_the_same() -> None:
    """Writes of a run with and without quotas, and questions."""
    seen: list[list[str]] = []
    for runs in (None, 100):
        on = await (stack(production_pipeline={"runs": runs}) if runs else stack())
        boundaries = Boundaries()
        kit = on.kits[0]
        kit.database = WatchedDatabase(kit.database, boundaries)
        kit.__post_init__()
        await on.run("first")
        boundaries.passed.clear()
        on.questions.answers = False
        await on.run("second")
        seen.append(boundaries.passed)
        on.questions.answers = True
        await on.tell(at_stop=True)
        assert (await on.standing())[0].runs == 2
    assert seen[0] == seen[1] == ["runs.insert", "journal.insert", "runs.update"]


async def test_use_that_could_not_be_told_is_told_once_later() -> None:
    on = await stack()
    await on.run("r0")
    on.questions.answers = False
    await on.tell()
    on.questions.answers = True
    await on.tell()
    await on.tell()
    assert (await on.standing())[0].runs == (await on.standing("system"))[0].runs == 1


@pytest.mark.parametrize("purpose", ["trial", "evaluation", "gate", "measure", "meta"])
async def test_another_purpose_or_a_parents_name_is_no_way_around(purpose: str) -> None:
    on = await stack(production_domain={"runs": 1})
    assert (await on.run("r0", purpose=purpose)).status == "succeeded"
    assert (await on.run("r1", purpose=purpose, parent_run_id="r0", depth=1)).error_code == "limit_reached:quota_exhausted"


async def test_a_nested_pipeline_has_its_own_quota_and_is_not_charged_twice_to_the_domain() -> None:
    on = await stack(production_pipeline={"runs": 2}, production_domain={"runs": 100})
    outer = {"name": "outer", "domain": "support", "steps": [{"name": "n", "type": "pipeline", "pipeline": "triage", "inputs": {}}]}
    await on.kits[0].notary.deploy(on.at.database, outer)
    ends = [await on.kits[0].execute(ExecuteRun(run_id=f"o{number}", pipeline="outer")) for number in range(3)]
    assert [each.status for each in ends] == ["succeeded", "succeeded", "refused"]
    assert (await on.run("r0")).error_code == "limit_reached:quota_exhausted"
    await on.tell(at_stop=True)
    assert [(await on.standing(name))[0].runs for name in ("production_domain:support", PIPELINE)] == [2, 2]


async def test_a_new_quota_holds_within_seconds_and_a_refusal_is_not_asked_for_again_at_once() -> None:
    on = await stack()
    assert (await on.run("r0")).status == "succeeded"
    rules = QuotaRules.model_validate({"defaults": {"production_pipeline": {"runs": 0}}})
    on.at = on.at.with_policy(Policy(shipped_policy().document.model_copy(update={"quotas": rules})))
    on.questions.at = on.at
    await sweep_budgets(on.at.at)
    on.at.clock.pass_seconds(RULES_SECONDS)
    assert (await on.run("r1")).error_code == "limit_reached:quota_exhausted"
    on.questions.answers = False
    assert (await on.run("r2")).error_code == "limit_reached:quota_exhausted"
    on.at.clock.pass_seconds(REFUSED_SECONDS)
    with pytest.raises(UnavailableError):
        await on.run("r3")


async def test_no_run_begins_unbounded_before_the_quotas_are_read() -> None:
    """Runs that come together at a start, and one after a read that failed."""
    on = await stack(production_pipeline={"runs": 3})
    rules = on.kits[0].quotas._rules
    read, asked = rules.bounds, 0

    async def bounds() -> Any:
        nonlocal asked
        asked += 1
        await asyncio.sleep(0)
        if asked == 1:
            raise UnavailableError("the store does not answer")
        return await read()

    rules.bounds = bounds  # type: ignore[method-assign]
    with pytest.raises(UnavailableError):
        await on.run("r0")
    ended = await asyncio.gather(*(on.run(f"r{number}") for number in range(6)))
    assert sorted(each.status for each in ended) == ["refused"] * 3 + ["succeeded"] * 3
    assert asked == 2


@pytest.mark.parametrize("cost", [0.03, 0.05, 0.1, 0.000001])
def test_a_lease_serves_as_many_runs_as_it_was_made_for_and_no_more(cost: float) -> None:
    one = Spent(runs=1, cost_usd=cost)
    lease = Lease("l1", Charged("triage", "support", False), Spent(runs=100, cost_usd=50 * cost), 1.0)
    assert sum(lease.take(f"r{number}", one, 0.0) for number in range(60)) == 50
