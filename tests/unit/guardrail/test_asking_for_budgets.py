from __future__ import annotations

from typing import Any

import pytest

from services.guardrail.domain.budgets import Amounts, QuotaRules
from services.guardrail.domain.policy import Policy
from services.guardrail.ports import Guardrail, ScopeUse
from services.guardrail.use_cases import close_scope, estimate_cost, grant_scope, list_budgets, list_reservations, sweep_budgets
from shared.errors import ConfigurationError, InvalidInputError, LimitReachedError
from shared.events.quotas import CloseScope, EstimateCost, ListBudgets, ListReservations
from tests.fakes.guardrail import Bench, bench, pipeline, shipped_policy
from tests.unit.guardrail.test_scopes_and_measures import wish

RULES: dict[str, Any] = {
    "defaults": {"group": {"runs": 150}, "pipeline": {"calls": 1000, "cost_usd": 10.0}},
    "overrides": [
        {"account": "pipeline:tri*", "limit": {"calls": 500}},
        {"account": "pipeline:triage", "limit": {"cost_usd": 7.5}},
        {"account": "purpose:generation", "limit": {"runs": 10**9, "calls": 700}},
    ],
}


def limited(**rules: Any) -> Bench:
    document = shipped_policy().document.model_copy(update={"quotas": QuotaRules.model_validate(rules or RULES)})
    return bench(policy=Policy(document))


def test_the_last_matching_override_wins_for_each_resource_it_names() -> None:
    rules = QuotaRules.model_validate(RULES)
    assert rules.limit_of("pipeline:triage").counts() == {"calls": 500, "micro_usd": 7_500_000}
    assert rules.limit_of("pipeline:tribute").counts() == {"calls": 500, "micro_usd": 10_000_000}
    assert rules.limit_of("pipeline:other").counts() == {"calls": 1000, "micro_usd": 10_000_000}
    assert rules.limit_of("domain:triage").counts() == {}


@pytest.mark.parametrize("account", ["pipelin:x", "pipeline", "pipeline:", "x"])
def test_a_policy_whose_quota_names_no_account_is_refused(account: str) -> None:
    content = shipped_policy().document.model_dump() | {"quotas": {"overrides": [{"account": account, "limit": {"runs": 1}}]}}
    with pytest.raises(ConfigurationError, match=r"names no account|at least 3"):
        Policy.parse(content, "policy.yaml")


async def test_a_purpose_keeps_its_daily_bound_whatever_quotas_say() -> None:
    at = limited()
    with pytest.raises(LimitReachedError, match="purpose:generation may use 4,999 runs"):
        await grant_scope(wish(budget={"runs": 5000}, holder="a"), with_daily_runs(at, 4999))
    await grant_scope(wish("s2", budget={"calls": 700}), at.at)
    with pytest.raises(LimitReachedError, match="purpose:generation may use 700 calls"):
        await grant_scope(wish("s3", budget={"calls": 1}), at.at)


def with_daily_runs(at: Bench, runs: int) -> Guardrail:
    document = at.at.policy.document
    rule = document.scopes["generation"]
    daily = rule.daily.model_copy(update={"runs": runs})
    scopes = {**document.scopes, "generation": rule.model_copy(update={"daily": daily})}
    return at.with_policy(Policy(document.model_copy(update={"scopes": scopes}))).at


async def test_accounts_are_told_with_what_is_used_reserved_and_allowed_the_fullest_first() -> None:
    at = limited()
    at.sealing.uses["s1"] = ScopeUse(Amounts(runs=5, calls=50, tokens=100, micro_usd=1_250_000))
    await grant_scope(wish(pipeline="triage", group_id="r1"), at.at)
    await close_scope(CloseScope(scope_id="s1", author="generator"), at.at)
    await grant_scope(wish("s2", pipeline="triage", group_id="r2", budget={"runs": 90, "calls": 400, "cost_usd": 2.5}), at.at)
    told = await list_budgets(ListBudgets(), at.at)
    shares = {row["account"]: row["share"] for row in told["accounts"]}
    assert next(iter(shares)) == "pipeline:triage" and shares["pipeline:triage"] == 0.9
    assert shares["group:r2"] == 0.6 and shares["system"] is None
    (row,) = (await list_budgets(ListBudgets(account="pipeline:triage"), at.at))["accounts"]
    assert row["limits"] == {"calls": 500.0, "cost_usd": 7.5}
    assert (row["used"]["cost_usd"], row["reserved"]["cost_usd"]) == (1.25, 2.5)
    assert told["renews_at"] == "2026-11-23T00:00:00+00:00"
    with pytest.raises(InvalidInputError, match="is no account"):
        await list_budgets(ListBudgets(account="nobody"), at.at)


async def test_open_reservations_are_told_by_account() -> None:
    at = limited()
    await grant_scope(wish(pipeline="triage", budget={"runs": 1}), at.at)
    await grant_scope(wish("s2", budget={"runs": 1}, holder="evolution"), at.at)
    told = await list_reservations(ListReservations(), at.at)
    assert [(each["reservation_id"], each["holder"]) for each in told["reservations"]] == [("s1", "generator"), ("s2", "evolution")]
    told = await list_reservations(ListReservations(account="pipeline:triage"), at.at)
    assert [each["reservation_id"] for each in told["reservations"]] == ["s1"]


def estimate(**fields: Any) -> EstimateCost:
    return EstimateCost.model_validate({"document": pipeline(), "runs": 100, **fields})


async def test_an_estimate_counts_calls_tokens_and_dollars_and_says_what_fits() -> None:
    at = limited()
    told = await estimate_cost(estimate(), at.at)
    tokens = told["per_run"]["tokens"]
    assert told["per_run"]["calls"] == 1 and 512 < tokens < 600
    assert told["total"]["cost_usd"] == pytest.approx(100 * tokens * told["dearest_usd"] / 1e6)
    assert told["fits"] and told["runs_that_fit"] == 100
    told = await estimate_cost(estimate(runs=501), at.at)
    assert not told["fits"] and told["runs_that_fit"] == 500
    assert {each["resource"] for each in told["short"]} == {"calls"}
    assert told["short"][0]["account"] == "pipeline:triage" and told["short"][0]["left"] == 500


async def test_an_estimate_is_of_a_pipeline_or_of_a_document() -> None:
    at = bench()
    await at.propose(pipeline())
    by_name = await estimate_cost(EstimateCost(pipeline="triage", runs=100), at.at)
    assert by_name == await estimate_cost(estimate(), at.at)
    for fields in ({"document": None}, {"pipeline": "triage"}, {"document": {"name": "x"}}):
        with pytest.raises(InvalidInputError):
            await estimate_cost(estimate(**fields), at.at)


async def test_a_search_that_is_expected_to_need_more_than_is_left_is_refused_before_it_starts() -> None:
    at = limited()
    small = {"runs": 100, "calls": 100}
    with pytest.raises(LimitReachedError, match=r"pipeline:triage may use 500 calls.*83 of the 100 runs"):
        await grant_scope(wish(pipeline="triage", budget=small, estimate={"runs": 100, "calls": 600}), at.at)
    assert await at.at.budgets.standings("2026-11-22") == []
    granted = await grant_scope(wish("s2", pipeline="triage", budget=small, estimate={"runs": 100, "calls": 400}), at.at)
    asked_again = wish("s2", pipeline="triage", budget=small, estimate={"runs": 100, "calls": 401})
    assert await grant_scope(asked_again, at.at) == granted


async def test_monitoring_is_told_sums_and_the_fullest_account_of_each_kind_without_any_name() -> None:
    at = limited()
    at.sealing.uses["s1"] = ScopeUse(Amounts(runs=5, calls=50))
    await grant_scope(wish(pipeline="triage"), at.at)
    await close_scope(CloseScope(scope_id="s1", author="generator"), at.at)
    await grant_scope(wish("s2", pipeline="tribute", budget={"runs": 1, "calls": 450}, holder="ada"), at.at)
    with pytest.raises(LimitReachedError):
        await grant_scope(wish("s3", pipeline="tribute", budget={"runs": 1, "calls": 451}), at.at)
    await sweep_budgets(at.at)
    assert at.tally.shares[("pipeline", "")] == 0.9
    assert at.tally.amounts[("pipeline", "", "calls", "used")] == 50
    assert at.tally.amounts[("pipeline", "", "calls", "reserved")] == 450
    assert at.tally.amounts[("pipeline", "", "calls", "limit")] == 1000
    assert {service for _, service, _, _ in at.tally.amounts} == {"", "generator", "other"}
    assert at.tally.budget_refusals == ["purpose"]
