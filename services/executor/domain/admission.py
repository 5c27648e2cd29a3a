"""Which runs may start: the pure part. Reading revisions and budgets is the use case's."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from shared.attestation import Verifier, verify_scope
from shared.errors import InvalidInputError, LimitReachedError, NotAttestedError, OutOfScopeError, PipelineCycleError, Problem
from shared.events.runs import ExecuteRun, RunArm
from shared.events.values import Attestation, GrantedScope
from shared.evidence.assignment import assign_arm
from shared.pipeline.document import Document
from shared.pipeline.facts import DocumentFacts
from shared.pipeline.loading import load_document
from shared.pipeline.scope import EFFECTFUL_STEP_TYPES, check_scope


@dataclass(frozen=True)
class Place:
    """Where a run stands in a rollout of its pipeline; empty where there is none."""

    arm: RunArm = ""
    rollout_id: str | None = None
    shadow: str = ""
    """Digest on which this run is repeated when it has ended."""
    shadow_runs: int = 0
    """The most of the rollout."""


@dataclass(frozen=True)
class Revision:
    """A stored revision as the guardrail keeps it."""

    digest: str
    pipeline: str
    status: str
    document: Mapping[str, Any]
    attestation: Attestation
    place: Place = Place()


@dataclass(frozen=True)
class LoadedDocument:
    """A checked document with what is computed once."""

    document: Document
    digest: str
    facts: DocumentFacts


@dataclass(frozen=True)
class Admitted:
    loaded: LoadedDocument
    pipeline: str
    """Name under which the run is told; a trial's is its document's."""
    place: Place = Place()


def split_reference(reference: str) -> tuple[str, str]:
    """`name` and `stable`, `canary` or a digest's beginning; empty for a bare name."""
    name, _, selector = reference.partition("@")
    return name, selector


def selected(deployment: Mapping[str, Any], selector: str, unit_id: str) -> tuple[str, Place]:
    """(digest, place in a rollout) that a selector means; the digest is empty where there is none.

    With a unit, a bare name follows the rollout: the same unit is in the same arm however often it asks, until the rollout moves
    it up. Without one it is the stable revision."""
    if selector in ("stable", "canary"):
        return str(deployment.get(selector) or ""), Place()
    stable, rollout = str(deployment.get("stable") or ""), deployment.get("rollout")
    if not rollout or not unit_id:
        return stable, Place()
    arm: RunArm = assign_arm(rollout["salt"], unit_id, rollout["share"])
    # After completion the canary is the stable revision, and still watched.
    digest = str(deployment.get("canary") or stable) if arm == "canary" else stable
    shadow = str(deployment.get("shadow") or "")
    is_repeated = bool(shadow) and assign_arm(f"{rollout['salt']}/shadow", unit_id, rollout["shadow_share"]) == "canary"
    return digest, Place(arm, rollout["rollout_id"], shadow if is_repeated else "", rollout["shadow_runs"])


def unit_of(command: ExecuteRun) -> str:
    """What stays in one arm; empty for runs that no rollout may have: trials, measurements, shadows."""
    return (command.unit_id or command.run_id) if command.purpose == "production" else ""


def check_shadow(command: ExecuteRun, facts: DocumentFacts) -> None:
    """Raises `OutOfScopeError` where a shadow run would have effects: they would be done twice."""
    if command.purpose == "shadow" and (effects := sorted(EFFECTFUL_STEP_TYPES & set(facts.step_types))):
        raise OutOfScopeError(f"a shadow run has no effects, but the document has steps of type {', '.join(effects)}")


def check_revision(verifier: Verifier, revision: Revision, loaded: LoadedDocument, now: datetime) -> None:
    """Raises `NotAttestedError` unless exactly this document is approved under this name and not quarantined."""
    if revision.status == "quarantined":
        raise NotAttestedError(f"revision {revision.digest[:12]} of {revision.pipeline} is quarantined")
    if loaded.digest != revision.digest:
        raise NotAttestedError(
            f"revision {revision.digest[:12]} of {revision.pipeline} holds another document than its digest names"
        )
    verifier.verify(revision.attestation, kind="revision", digest=revision.digest, now=now, scope=revision.pipeline)


def check_granted(verifier: Verifier, granted: GrantedScope, command: ExecuteRun, facts: DocumentFacts, now: datetime) -> None:
    """Raises `NotAttestedError` for a scope that is not signed or over, `OutOfScopeError` for what it does not allow."""
    verify_scope(verifier, granted.scope, granted.attestation, now=now)
    if command.purpose == "production":
        raise OutOfScopeError("a trial scope does not cover runs of purpose `production`")
    if problems := check_scope(facts, granted.scope):
        raise OutOfScopeError("; ".join(str(problem) for problem in problems))


def check_start(command: ExecuteRun, now: datetime) -> None:
    """Raises where the command names nothing to run, or comes too late."""
    if command.pipeline is None and command.document is None:
        raise InvalidInputError("a run needs `pipeline`, or `document` with `scope`")
    if command.deadline_at is None:
        return
    try:
        deadline = datetime.fromisoformat(command.deadline_at)
    except ValueError as error:
        raise InvalidInputError(f"deadline_at {command.deadline_at!r} is no RFC 3339 time") from error
    if deadline.tzinfo is None:
        raise InvalidInputError("deadline_at has no time zone")
    if deadline <= now:
        raise LimitReachedError("deadline", f"the run had to start by {command.deadline_at}")


def check_faults(command: ExecuteRun) -> None:
    """Raises where a run that is no trial asks for faults: nobody's production fails on purpose."""
    if command.faults is not None and (command.scope is None or command.purpose != "evaluation"):
        reason = f"faults are for evaluations under a trial scope, this run is `{command.purpose}`"
        raise InvalidInputError(Problem(path="faults", reason=reason, suggestion="leave `faults` out"))


def check_no_cycle(command: ExecuteRun, document: Document) -> None:
    """Raises where an outer run executes the same, under whatever name. Names say nothing: two pipelines may share one."""
    if command.ancestors and document.body_digest in command.ancestors:
        raise PipelineCycleError(f"pipeline {document.name} would run inside itself, {len(command.ancestors)} levels deep")


def inline_documents(value: Any) -> Iterator[Mapping[str, Any]]:
    """Every document that is written inside another one."""
    if isinstance(value, Mapping):
        if isinstance(value.get("steps"), list) and isinstance(value.get("name"), str):
            yield value
        for member in value.values():
            yield from inline_documents(member)
    elif isinstance(value, list | tuple):
        for member in value:
            yield from inline_documents(member)


def is_written_in(document: Mapping[str, Any], outer: Document) -> bool:
    """Whether an approved document contains this one: then its approval covers it. Authors may write it in a shorter form than
    it is run in, so what counts is the revision."""
    found = list(inline_documents(outer.canonical()["steps"]))
    wanted = canonical_json(document)
    if any(canonical_json(each) == wanted for each in found):
        return True
    digest = _digest_of(document)
    return digest is not None and any(_digest_of(each) == digest for each in found)


def _digest_of(document: Mapping[str, Any]) -> str | None:
    """None for what is no pipeline: a loop has a name and steps too."""
    try:
        return load_document(document).digest
    except InvalidInputError:
        return None


def canonical_json(document: Mapping[str, Any]) -> str:
    return json.dumps(document, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False)
