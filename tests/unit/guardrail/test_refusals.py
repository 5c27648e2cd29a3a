"""However often one signer is refused, the audit log grows by a few entries a minute, and tells how many there were."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from services.guardrail.domain.audit import AuditEntry, AuditNote
from services.guardrail.domain.refusals import ENTRIES_A_MINUTE, Refusals
from services.guardrail.ports import AuditLog
from services.guardrail.use_cases import audit_unauthorized, grant_scope, sweep_budgets
from services.guardrail.use_cases.auditing import audit_refused_minutes
from services.guardrail.use_cases.late_audit import LateAudit
from shared.errors import OutOfScopeError, UnavailableError
from shared.events.changes import GrantScope
from shared.events.deployments import RollbackPipeline
from shared.events.values import Budget
from tests.fakes.guardrail import Bench, bench


async def wished(at: Bench, count: int, holder: str = "learner") -> None:
    for number in range(count):
        wish = GrantScope(
            scope_id=f"{holder}-{number}", purpose="meta", holder=holder, domain="support", functions=("rm",), budget=Budget(runs=1)
        )
        with pytest.raises(OutOfScopeError):
            await grant_scope(wish, at.at)


async def told(at: Bench) -> list[tuple[str, str, int]]:
    return [(each.action, each.actor, each.facts.get("more", 1)) for each in await at.at.audit.entries()]


async def test_a_flood_of_refused_wishes_is_a_few_entries_and_a_number() -> None:
    at = bench()
    await wished(at, 300)
    await wished(at, 2, "evolution")
    await sweep_budgets(at.at)
    found = await told(at)
    assert len([each for each in found if each[0] == "scope.refused"]) == ENTRIES_A_MINUTE + 2
    at.clock.pass_seconds(60)
    for _ in range(2):
        await sweep_budgets(at.at)
    counted = [each for each in await told(at) if each[0] == "refusals.counted"]
    assert counted == [("refusals.counted", "learner", 300 - ENTRIES_A_MINUTE)]
    await wished(at, 1, "generator")
    assert (await told(at))[-1][0] == "scope.refused"


async def test_commands_that_nobody_may_give_are_bounded_too() -> None:
    at = bench()
    for number in range(40):
        command = RollbackPipeline(rollback_id=f"r{number}", pipeline="triage", reason="x", author="mallory")
        await audit_unauthorized(command, "it is not signed", at.at, signer="", message_id=f"m{number}")
    assert len([each for each in await told(at) if each[0] == "command.refused"]) == ENTRIES_A_MINUTE
    at.clock.pass_seconds(61)
    await sweep_budgets(at.at)
    assert (await told(at))[-1] == ("refusals.counted", "unknown", 35)


def test_a_minute_is_counted_once_and_forgotten() -> None:
    counts, now = Refusals(), datetime(2026, 11, 26, 12, 0, 30, tzinfo=UTC)
    for number in range(7):
        counts.is_to_be_told("ann", "a", now)
        if number:
            counts.is_to_be_told("ann", "b", now)
    assert list(counts.over(now)) == []
    later = now + timedelta(minutes=1)
    found = [(each.signer, each.kind, each.minute, each.refusals) for each in counts.over(later)]
    assert found == [("ann", "a", "2026-11-26T12:00", 2), ("ann", "b", "2026-11-26T12:00", 1)]
    assert list(counts.over(later)) == []


async def test_a_number_that_the_log_did_not_take_is_told_later() -> None:
    at = bench()
    await wished(at, 9)
    at.clock.pass_seconds(60)
    failing = replace(at.at, audit=Unreachable(at.at.audit))
    with pytest.raises(UnavailableError):
        await audit_refused_minutes(failing)
    await audit_refused_minutes(at.at)
    assert (await told(at))[-1] == ("refusals.counted", "learner", 9 - ENTRIES_A_MINUTE)


class Unreachable(LateAudit):
    def __init__(self, log: AuditLog) -> None:
        self._log = log

    async def append(self, note: AuditNote, *, is_first: bool = False) -> AuditEntry:
        raise UnavailableError("the store is away")
