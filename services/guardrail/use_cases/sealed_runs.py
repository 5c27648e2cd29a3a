"""Runs revisions on sealed cases through the executor fleet: inputs go out, labels stay here."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Literal

from services.guardrail.domain.diff import Revision
from services.guardrail.domain.gate import Arm
from services.guardrail.ports import Guardrail
from shared.attestation import scope_digest
from shared.errors import UnavailableError
from shared.events.message import derive_id
from shared.events.runs import ExecuteRun, RunFinished
from shared.events.values import Attestation, Budget, Case, GraderSpec, GrantedScope, TrialScope
from shared.evidence.graders import answer_of, grade_run

OWN_HOLDER = "guardrail"
RUNS_ALLOWED_A_CASE = 2
"""Executors count a run when they take it up; one that was taken up twice, after a crash, must not starve the last ones."""
Purpose = Literal["gate", "measure"]


@dataclass(frozen=True)
class Look:
    """One look at sealed cases by several revisions: the same cases in the same order for each."""

    owner_id: str
    purpose: Purpose
    domain: str
    revisions: Mapping[str, Revision]
    """Label -> revision."""
    cases: tuple[Case, ...]

    def run_id(self, label: str, case: Case) -> str:
        """The same after a crash, so that finished runs are not paid twice."""
        return derive_id(f"{self.purpose}:{self.owner_id}", f"{self.revisions[label].document.digest}:{case.id}:0")


async def take(look: Look, at: Guardrail, *, patient: bool) -> dict[str, tuple[RunFinished | None, ...]]:
    """Label -> runs in the order of the cases; None for one that did not end.

    Raises `UnavailableError` where some did not end and there is patience for another try: no verdict on half a look."""
    scope = own_scope(look, at)
    commands = [_command(look, label, case, scope) for case in look.cases for label in look.revisions]
    unique = {command.run_id: command for command in commands}
    ended = await at.runs.run_all(
        list(unique.values()), max_in_flight=at.limits.gate_in_flight, deadline_seconds=at.limits.gate_seconds
    )
    missing = len(unique) - len(ended)
    if missing and patient:
        raise UnavailableError(f"{missing} of {len(unique)} sealed runs did not end within {at.limits.gate_seconds:g} s")
    return {label: tuple(ended.get(look.run_id(label, case)) for case in look.cases) for label in look.revisions}


def graded(digest: str, runs: Sequence[RunFinished | None], cases: Sequence[Case], grader: GraderSpec) -> Arm:
    pairs = list(zip(runs, cases, strict=True))
    return Arm(
        digest=digest,
        grades=tuple(None if run is None else grade_run(grader, case.expected, run) for run, case in pairs),
        answers=tuple(
            None if run is None else answer_of(run.outputs, keep_objects=grader.kind == "json_fields") for run, _ in pairs
        ),
    )


def own_scope(look: Look, at: Guardrail) -> GrantedScope:
    """A scope of the guardrail's own: exactly what these revisions use, for exactly these runs."""
    now = at.clock.now()
    facts = [revision.facts for revision in look.revisions.values()]
    expires = (now + timedelta(seconds=2 * at.limits.gate_seconds)).isoformat()
    scope = TrialScope(
        scope_id=f"{look.purpose}-{hashlib.sha256(look.owner_id.encode()).hexdigest()[:32]}",
        purpose=look.purpose,
        holder=OWN_HOLDER,
        domain=look.domain,
        step_types=_union(each.step_types for each in facts),
        providers=_union(each.families for each in facts),
        functions=_union(each.functions for each in facts),
        budget=_budget(look),
        expires_at=expires,
    )
    return GrantedScope(scope=scope, attestation=scope_attestation(scope, at))


def scope_attestation(scope: TrialScope, at: Guardrail) -> Attestation:
    return at.signer.sign(
        Attestation(
            kind="scope",
            digest=scope_digest(scope),
            scope=scope.purpose,
            domain=scope.domain,
            policy_revision=at.policy.revision,
            issued_at=at.clock.now().isoformat(),
            expires_at=scope.expires_at,
            key_id="",
        )
    )


def _command(look: Look, label: str, case: Case, scope: GrantedScope) -> ExecuteRun:
    return ExecuteRun(
        run_id=look.run_id(label, case),
        inputs=case.input,
        document=look.revisions[label].document.canonical(),
        scope=scope,
        purpose=look.purpose,
        group_id=look.owner_id,
        case_id=case.id,
    )


def _budget(look: Look) -> Budget:
    limits, count = [revision.document.limits for revision in look.revisions.values()], len(look.cases)
    return Budget(
        runs=RUNS_ALLOWED_A_CASE * len(limits) * count,
        calls=sum(each.calls for each in limits) * count,
        tokens=sum(each.tokens for each in limits) * count,
        cost_usd=sum(each.cost_usd for each in limits) * count,
    )


def _union(lists: Iterable[Iterable[str]]) -> tuple[str, ...]:
    return tuple(sorted({name for names in lists for name in names}))
