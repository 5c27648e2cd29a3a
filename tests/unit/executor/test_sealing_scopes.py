from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import Any

import pytest

from services.executor.adapters.guardrail_store import MongoClosedScopes
from services.executor.adapters.mongo_values import MongoScopeLedger
from services.executor.domain.spending import SealedUse
from services.executor.use_cases import ScopeSealing
from shared.clock import SystemClock
from shared.errors import InvalidInputError, LimitReachedError, UnavailableError
from shared.events.quotas import SealScope
from shared.events.values import Budget, Usage
from tests.fakes.durable_boundaries import Boundaries, Fault, Place, WatchedDatabase
from tests.fakes.executor import ExecutorKit
from tests.fakes.language_model import ScriptedModel

BUDGET = Budget(runs=10, calls=10, tokens=1000, cost_usd=1.0)
DOCUMENT = {
    "name": "asks",
    "steps": [{"name": "a", "type": "claude", "prompt": "a?"}, {"name": "b", "type": "claude", "prompt": "b? {{ steps.a.text }}"}],
}


async def close(kit: ExecutorKit, scope_id: str = "scope-1") -> None:
    await kit.guardrail.collection("scopes").put({"_id": scope_id, "closed_at": "2026-11-22T12:00:00+00:00"})


async def sealed(kit: ExecutorKit, scope_id: str = "scope-1") -> dict[str, Any]:
    return await kit.executor.sealing.seal(SealScope(scope_id=scope_id))


async def test_nothing_runs_under_a_sealed_scope_and_its_use_stays_as_it_was() -> None:
    kit = ExecutorKit()
    first = await kit.trial(DOCUMENT)
    await close(kit)
    answer = await sealed(kit)
    assert (answer["used"]["runs"], answer["used"]["calls"], answer["open_calls"]) == (1, 2, 0)
    assert answer["used"]["tokens"] == first.usage.input_tokens + first.usage.output_tokens
    refused = await kit.trial(DOCUMENT, run_id="run-2")
    assert (refused.status, refused.error_code) == ("refused", "limit_reached:scope")
    assert "ask for a new one" in refused.error
    assert await sealed(kit) == answer


async def test_a_scope_that_was_never_used_is_sealed_all_the_same() -> None:
    kit = ExecutorKit()
    await close(kit)
    assert (await sealed(kit))["used"]["runs"] == 0
    assert (await kit.trial(DOCUMENT)).error_code == "limit_reached:scope"


@pytest.mark.parametrize("stored", [None, {"_id": "scope-1", "closed_at": None}, {"_id": "scope-1"}])
async def test_who_asks_does_not_matter_only_what_the_guardrail_stored(stored: dict[str, Any] | None) -> None:
    kit = ExecutorKit()
    if stored:
        await kit.guardrail.collection("scopes").put(stored)
    with pytest.raises(InvalidInputError, match="not closed by the guardrail"):
        await sealed(kit)
    assert (await kit.trial(DOCUMENT)).status == "succeeded"


async def test_a_run_that_is_under_way_makes_no_further_call() -> None:
    """The scope is sealed while its first call is in flight: that call counts, the second one is not made."""
    kit = ExecutorKit()
    answers: list[dict[str, Any]] = []

    class SealsAmid(ScriptedModel):
        async def complete(self, request: Any) -> Any:
            await close(kit)
            answers.append(await sealed(kit))
            return await super().complete(request)

    kit.model = SealsAmid()
    kit.__post_init__()
    ended = await kit.trial(DOCUMENT)
    assert (ended.status, ended.error_code) == ("failed", "limit_reached:scope")
    assert [(each["open_calls"], each["used"]["calls"]) for each in answers] == [(1, 1)]
    assert ((await sealed(kit))["open_calls"], (await sealed(kit))["used"]["calls"]) == (0, 1)


async def test_of_reservers_and_a_seal_at_once_what_the_seal_tells_is_what_was_reserved() -> None:
    kit = ExecutorKit()
    ledger = MongoScopeLedger(kit.database, SystemClock())
    asked = [ledger.reserve("s", BUDGET, Budget(calls=1, tokens=7)) for _ in range(10)]
    _, use, *answers = await asyncio.gather(asked[0], ledger.seal("s"), *asked[1:], return_exceptions=True)
    taken = 1 + sum(each is None for each in answers)
    assert isinstance(use, SealedUse)
    assert (use.calls, use.open_calls, use.open_tokens) == (taken, taken, 7 * taken)
    assert all(isinstance(each, LimitReachedError) for each in answers if each is not None)
    for _ in range(taken):
        await ledger.settle("s", Budget(calls=1, tokens=7), Usage(calls=1, input_tokens=2, cost_usd=0.01))
    settled = await ledger.seal("s")
    assert settled == replace(use, tokens=2 * taken, cost_usd=settled.cost_usd, open_calls=0, open_tokens=0)
    assert settled.cost_usd == pytest.approx(0.01 * taken)


@pytest.mark.parametrize("fault", ["refused", "timed out"])
@pytest.mark.parametrize("is_used", [False, True])
async def test_a_seal_that_breaks_at_any_write_is_whole_when_it_is_asked_for_again(is_used: bool, fault: Fault) -> None:
    for place in (Place("scope_usage.update", 0), Place("scope_usage.insert", 0), Place("scope_usage.update", 1)):
        kit = ExecutorKit()
        await close(kit)
        ledger = MongoScopeLedger(kit.database, SystemClock())
        if is_used:
            await ledger.reserve("scope-1", BUDGET, Budget(runs=1))
        breaking = WatchedDatabase(kit.database, Boundaries(place, fault))
        sealing = ScopeSealing(MongoClosedScopes(kit.guardrail), MongoScopeLedger(breaking, SystemClock()))
        query = SealScope(scope_id="scope-1")
        try:
            await sealing.seal(query)
        except UnavailableError:
            await sealing.seal(query)
        with pytest.raises(LimitReachedError, match="closed"):
            await ledger.reserve("scope-1", BUDGET, Budget(runs=1))
        assert (await ledger.seal("scope-1")).runs == int(is_used)
