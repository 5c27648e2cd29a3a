"""A change as a reviewer has to see it, as text."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from evoline.cli.output import moment
from evoline.sealed_gain import SealedGain
from shared.evidence.wording import chance


def page(found: Mapping[str, Any]) -> str:
    return "\n".join([*_head(found), *_risk(found), *_gate(found), *_votes(found), *_document(found)])


def _head(found: Mapping[str, Any]) -> Iterator[str]:
    author = found["author"] + ("" if found["author_verified"] else f" (not verified: {found['author_fault']})")
    on_behalf = f", on behalf of {found['requested_by']}" if found.get("requested_by") else ""
    yield f"change     {found['change_id']} ({found['kind']}), {found['status']}"
    yield f"pipeline   {found['pipeline']}@{found['digest'][:12]}, domain {found['domain']}"
    yield f"author     {author}{on_behalf}"
    if found.get("successor_of"):
        yield f"answers    {found['successor_of']}"
    if found.get("reason"):
        yield f"reason     {found['reason']}"
    if found.get("expires_at"):
        yield f"expires    {found['expires_at']}"
    yield from _listed("because", found["reasons"])


def _risk(found: Mapping[str, Any]) -> Iterator[str]:
    yield f"risk       {found['risk']:.2f}, {found['risk_class']}"
    yield from _listed("", found["risk_reasons"])
    yield from _listed("diff", found["diff"])


def _gate(found: Mapping[str, Any]) -> Iterator[str]:
    gate = found.get("gate")
    if gate:
        numbers = f"p={chance(gate['p_value'])}, alpha {gate['alpha']:.4f}"
        yield f"gate       {gate['verdict']}: gain {SealedGain.of(gate)}, {numbers}"


def _votes(found: Mapping[str, Any]) -> Iterator[str]:
    yield from _listed("said", [_said(each) for each in found["decisions"]])
    if found["status"] == "queued":
        given = f"{len(found['votes'])} of {found['needed']} approvals by people with the role {found['role']}"
        yield f"votes      {given}; {found['missing']} missing; never by {', '.join(found['excluded'])}"
    glass = found.get("glass")
    if glass:
        state = f"{glass['status']}, confirm by {moment(glass['confirm_until'])}"
        yield f"emergency  {glass['by']} alone at {moment(glass['at'])}: {glass['reason']} ({state})"


def _said(each: Mapping[str, Any]) -> str:
    place = f" for {each['delegated_by']}" if each.get("delegated_by") else ""
    void = f" (void: {each['void']})" if each.get("void") else ""
    words = f": {each['comment']}" if each["comment"] else ""
    return f"{each['reviewer']}{place} {each['decision']} at {each['at'][:19]}{words}{void}"


def _document(found: Mapping[str, Any]) -> Iterator[str]:
    yield f"document   evoline show change {found['change_id']}"


def _listed(title: str, lines: list[str]) -> Iterator[str]:
    for number, line in enumerate(lines):
        yield f"{title if number == 0 else '':<10} {line}"
