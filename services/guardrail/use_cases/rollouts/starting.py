"""How a rollout begins: by a command for an approved revision, or by a change that was approved with a plan."""

from __future__ import annotations

from services.guardrail.domain.records import ChangeRecord, Deployment, RevisionRecord
from services.guardrail.domain.rollout import RolloutRecord, new_rollout
from services.guardrail.ports import Guardrail
from services.guardrail.use_cases.judging import compiled, policy_names
from services.guardrail.use_cases.rollouts.advancing import advance
from services.guardrail.use_cases.rollouts.facts import done
from services.guardrail.use_cases.telling import Effects
from services.guardrail.use_cases.under_way import under_way
from shared.errors import NotAttestedError
from shared.events.message import derive_id
from shared.events.rollouts import DEFAULT_STEPS, SHADOW, RolloutPlan, RolloutRefused, StartRollout
from shared.pipeline.facts import document_facts
from shared.pipeline.loading import load_document
from shared.pipeline.scope import EFFECTFUL_STEP_TYPES

BY_PEOPLE = ("review:", "break-glass:")


class RolloutRefusedError(Exception):
    """Says why there will be no such rollout, and what to do instead."""


async def start_rollout(command: StartRollout, at: Guardrail) -> Effects:
    """Idempotent by rollout id."""
    known = await at.rollouts.get(command.rollout_id)
    if known is None:
        try:
            known = await at.rollouts.open(await _planned(command, at))
        except RolloutRefusedError as error:
            return [("refused", _refusal(command, str(error)))]
    if (known.pipeline, known.author) != (command.pipeline, command.author) or not known.canary.startswith(command.digest):
        taken = f"rollout {command.rollout_id} is another one, of {known.pipeline}@{known.canary[:12]}; choose another id"
        return [("refused", _refusal(command, taken))]
    after = await advance(known.rollout_id, at)
    return [("controlled", done(after or known, "start", command.author, command.reason))]


async def start_for_change(record: ChangeRecord, plan: RolloutPlan, at: Guardrail) -> str:
    """The rollout of an approved change, whose revision is stored; returns its id. Idempotent by change."""
    rollout_id = rollout_of(record.change_id)
    if await at.rollouts.get(rollout_id) is None:
        serving = await at.deployments.get(record.pipeline)
        revision = await at.revisions.get(record.digest)
        assert serving is not None and revision is not None, "a rollout has a revision, and one to be compared with"
        reason = record.reason or "; ".join(record.reasons)
        fields = {"rollout_id": rollout_id, "author": record.author, "reason": reason[:2000], "change_id": record.change_id}
        moment = at.clock.now().isoformat()
        await at.rollouts.open(new_rollout(serving, record.digest, fitting(plan, revision), moment, **fields))
    await advance(rollout_id, at)
    return rollout_id


def rollout_of(change_id: str) -> str:
    return f"rollout-{derive_id(change_id, 'rollout')[:16]}"


def fitting(plan: RolloutPlan, revision: RevisionRecord) -> RolloutPlan:
    """Without shadow steps for a revision that has effects: to repeat them would be to do them twice."""
    if not effects_of(revision):
        return plan
    steps = tuple(step for step in plan.steps if step.share != SHADOW)
    return plan.model_copy(update={"steps": steps if len(steps) > 1 else DEFAULT_STEPS[1:]})


def effects_of(revision: RevisionRecord) -> tuple[str, ...]:
    facts = document_facts(load_document(revision.document))
    return tuple(sorted(set(facts.step_types) & EFFECTFUL_STEP_TYPES))


async def _planned(command: StartRollout, at: Guardrail) -> RolloutRecord:
    serving = await at.deployments.get(command.pipeline)
    if serving is None:
        first = "a first revision takes over at once: `evoline propose FILE --reason ...`"
        raise RolloutRefusedError(f"there is no pipeline {command.pipeline!r} with a stable revision to be compared with; {first}")
    revision = await _revision(command, serving, at)
    if running := await under_way(command.pipeline, at):
        how = f"wait for it, or end it: `evoline rollout abort {running.rollout_id}`"
        raise RolloutRefusedError(f"rollout {running.rollout_id} of {running.canary[:12]} is {running.state}; {how}")
    await _check_policy(revision, at)
    plan = command.plan or at.policy.document.rollout.plan
    if command.plan and any(step.share == SHADOW for step in command.plan.steps) and (effects := effects_of(revision)):
        raise RolloutRefusedError(
            f"a shadow would do the effects of {', '.join(effects)} twice; give a plan whose steps begin above share 0"
        )
    return new_rollout(
        serving,
        revision.digest,
        fitting(plan, revision),
        at.clock.now().isoformat(),
        rollout_id=command.rollout_id,
        author=command.author,
        reason=command.reason,
    )


async def _revision(command: StartRollout, serving: Deployment, at: Guardrail) -> RevisionRecord:
    revisions = await at.revisions.of_pipeline(command.pipeline)
    found = [each for each in revisions if each.digest.startswith(command.digest)]
    if len(found) != 1:
        known = ", ".join(each.digest[:12] for each in revisions if each.digest != serving.stable) or "none"
        raise RolloutRefusedError(
            f"{command.digest} names {len(found)} approved revisions of {command.pipeline} (others than the stable one: {known}); "
            "propose it first: evoline propose FILE --no-deploy (`deploy: false`)"
        )
    revision = found[0]
    if revision.digest == serving.stable:
        raise RolloutRefusedError(f"{revision.digest[:12]} is the stable revision already")
    if revision.status == "quarantined" or await at.revisions.is_quarantined(revision.digest):
        raise RolloutRefusedError(f"{revision.digest[:12]} is quarantined after a rollback; propose another revision")
    try:
        at.signer.check(revision.attestation, kind="revision", digest=revision.digest)
    except NotAttestedError as error:
        raise RolloutRefusedError(f"{revision.digest[:12]} is not approved any more: {error}; propose it again") from error
    return revision


async def _check_policy(revision: RevisionRecord, at: Guardrail) -> None:
    """Approved was that it may run beside the stable one; that it takes its place is judged now, by the policy of today. Raises
    `RolloutRefusedError`."""
    change = await at.changes.get(revision.change_id)
    if change is None:
        raise RolloutRefusedError(f"change {revision.change_id}, which approved it, is not in the store; propose it again")
    as_deployed = change.model_copy(update={"deploy": True})
    decision = at.policy.decide(policy_names(as_deployed, await compiled(as_deployed, at)))
    reasons, why = "; ".join(decision.reasons), f"policy says about {revision.digest[:12]} in the place of the stable one"
    if decision.effect == "veto":
        raise RolloutRefusedError(f"{why}: {reasons}")
    if decision.effect == "review" and not change.decided_by.startswith(BY_PEOPLE):
        raise RolloutRefusedError(f"{why}: {reasons}; let people decide: propose it with `deploy: true` and a `rollout`")


def _refusal(command: StartRollout, reason: str) -> RolloutRefused:
    return RolloutRefused(rollout_id=command.rollout_id, pipeline=command.pipeline, verb="start", reason=reason)
