"""Questions about policies, among them the one that matters before an activation: what would it have decided?"""

from __future__ import annotations

import asyncio
import json
from collections import Counter
from datetime import UTC, datetime
from typing import Any

from services.guardrail.domain.names import NAMES, flat
from services.guardrail.domain.policies import ActivePolicy, PolicyRecord
from services.guardrail.domain.policy import Policy
from services.guardrail.domain.records import ChangeRecord
from services.guardrail.ports import Guardrail
from services.guardrail.use_cases.policy_changes import MAX_POLICY_BYTES, floored
from shared.errors import ConfigurationError, InvalidInputError, NotFoundError, Problem
from shared.events.policies import CheckPolicy, GetPolicy, ListPolicies, TestPolicy

SHOWN_ROWS = 300
SHOWN_REASONS = 5
REASON_CHARACTERS = 400
_AT_ONCE = 20
"""Changes judged before others get their turn: a test must not hold up decisions."""


async def get_policy(query: GetPolicy, at: Guardrail) -> dict[str, Any]:
    active = await at.policies.active()
    wanted = query.revision or (active.revision if active else "")
    found = [each for each in await at.policies.latest(0) if wanted and each.revision.startswith(wanted)]
    if len(found) != 1:
        raise NotFoundError(f"{wanted!r} names {len(found)} policies; `evoline policy list` shows them")
    return {**_row(found[0], active), "previous": list(active.previous) if active else [], "document": found[0].document}


async def list_policies(query: ListPolicies, at: Guardrail) -> dict[str, Any]:
    active = await at.policies.active()
    return {"policies": [_row(each, active) for each in await at.policies.latest(query.limit)]}


async def check_policy(query: CheckPolicy) -> dict[str, Any]:
    policy = _parsed(query.document)
    return {**_named(policy), "rules": len(policy.document.rules)}


async def test_policy(query: TestPolicy, at: Guardrail) -> dict[str, Any]:
    """Asks the policy what it would have said about what the rules saw then; what cannot be asked again is told with the reason."""
    policy = _parsed(query.document)
    rows, skipped = [], []
    for number, record in enumerate(await at.changes.judged(query.last, _since(query.since))):
        if number % _AT_ONCE == 0:
            await asyncio.sleep(0)
        if reason := _why_not(record, policy):
            skipped.append({"change_id": record.change_id, "reason": reason})
        else:
            rows.append(_replayed(record, policy))
    changed = [row for row in rows if row["was"] != row["would"]]
    unchanged = [row for row in rows if row["was"] == row["would"]]
    return {
        **_named(policy),
        "judged": len(rows),
        "changed": len(changed),
        "unchanged": len(unchanged),
        "not_replayable": len(skipped),
        "counts": dict(sorted(Counter(f"{row['was']} -> {row['would']}" for row in rows).items())),
        "rows": [*changed, *unchanged][:SHOWN_ROWS],
        "left_off": max(0, len(rows) - SHOWN_ROWS),
        "skipped": skipped[:SHOWN_ROWS],
    }


def _replayed(record: ChangeRecord, policy: Policy) -> dict[str, Any]:
    names = {**record.names, "diff": {**record.names.get("diff", {}), "lines": list(record.diff)}}
    decision = policy.decide(names)
    if record.kind == "policy":
        decision = floored(decision)
    return {
        "change_id": record.change_id,
        "kind": record.kind,
        "pipeline": record.pipeline,
        "author": record.author,
        "judged_at": record.decided_at,
        "outcome": record.status,
        "was": record.rule_effect,
        "was_by": record.decided_by_rule,
        "would": decision.effect,
        "would_by": decision.decided_by,
        "reasons": [reason[:REASON_CHARACTERS] for reason in decision.reasons[:SHOWN_REASONS]],
    }


def _since(text: str) -> str:
    """As records write their times, which are compared as texts. Raises `InvalidInputError`."""
    if not text:
        return ""
    try:
        moment = datetime.fromisoformat(text)
    except ValueError as error:
        raise InvalidInputError(Problem(path="since", reason=f"{text!r} is no time", suggestion="2026-11-22")) from error
    return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).astimezone(UTC).isoformat()


def _why_not(record: ChangeRecord, policy: Policy) -> str:
    if record.names:
        missing = sorted({*NAMES} - {*flat(record.names), "diff.lines"})
        used = [name for name in missing if policy.uses(name)]
        return f"it was judged before rules could see {', '.join(used)}" if used else ""
    if record.status == "vetoed" and record.decided_by == "check":
        return "a check refused it before any rule was asked, and would again"
    if record.author == "evoline":
        return "it ships with the system, so no rule was asked"
    return "it was judged before the guardrail kept what rules saw"


def _parsed(document: dict[str, Any]) -> Policy:
    """Raises `InvalidInputError`: a wrong policy is the asker's, not this service's, to mend."""
    try:
        if len(json.dumps(document)) > MAX_POLICY_BYTES:
            raise ConfigurationError(f"the policy is larger than {MAX_POLICY_BYTES} bytes")
        return Policy.parse(document, str(document.get("policy", "given")))
    except ConfigurationError as error:
        raise InvalidInputError(
            Problem(path="document", reason=str(error), suggestion="docs/policy.md lists what rules may use")
        ) from error


def _named(policy: Policy) -> dict[str, Any]:
    return {"policy": policy.document.policy, "version": policy.document.version, "revision": policy.revision}


def _row(record: PolicyRecord, active: ActivePolicy | None) -> dict[str, Any]:
    row = record.model_dump(mode="json", exclude={"document"})
    return {**row, "active": active is not None and active.revision == record.revision}
