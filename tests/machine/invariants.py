"""What holds after every step, and what has come to its end when nothing more is sent."""

from __future__ import annotations

from collections.abc import Mapping

from services.guardrail.domain.records import ChangeRecord, Deployment
from services.guardrail.domain.rollout import RolloutRecord
from services.guardrail.use_cases.queries import resolved
from shared.errors import NotAttestedError
from shared.events.changes import DecideReview
from shared.events.values import Attestation
from shared.messaging import codec
from tests.machine.world import World

ENDED = {"approved", "vetoed", "expired", "changes_requested"}
HIGH = ("high", "critical")


def check_approvals(world: World, changes: list[ChangeRecord]) -> None:
    """Whatever is approved is attested, and where people had to decide, enough of them did; the author is never one of them."""
    for record in changes:
        if record.status != "approved":
            assert record.attestation is None, f"{record.change_id} is {record.status} and attested"
            continue
        assert record.attestation is not None, f"{record.change_id} is approved without an attestation"
        _check_attested(world, record.attestation, record.attested_kind, record.digest)
        _check_votes(world, record)


def _check_attested(world: World, attestation: Attestation, kind: str, digest: str) -> None:
    """Each one once: none of them expires within the machine's time."""
    seen = (attestation.signature, kind, digest)
    if seen not in world.attested:
        world.at.signer.check(attestation, kind=kind, digest=digest)
        world.attested.add(seen)


def _check_votes(world: World, record: ChangeRecord) -> None:
    """Counted from the signed messages themselves, not as the guardrail counts."""
    by_people = record.rule_effect == "review" or record.kind in ("policy", "release") or record.risk_class in HIGH
    if not by_people:
        return
    people = {vote.delegated_by or vote.reviewer for vote in _signed_votes(record)}
    assert not people & {record.author, record.requested_by}, f"{record.change_id} is approved by its author"
    least = 1 if record.glass is not None or record.risk_class not in HIGH else 2
    assert len(people) >= least, f"{record.change_id} ({record.risk_class}) is approved with the votes of {people}"


def _signed_votes(record: ChangeRecord) -> list[DecideReview]:
    said = [
        codec.decode(DecideReview, each.body.encode()) for each in record.decisions if each.decision == "approve" and not each.void
    ]
    return [vote for vote in said if (vote.change_id, vote.digest, vote.decision) == (record.change_id, record.digest, "approve")]


def check_served(world: World, changes: list[ChangeRecord], deployments: Mapping[str, Deployment]) -> None:
    """Whatever serves was approved and is attested; what is quarantined is not given to anybody to run."""
    approved = {(each.pipeline, each.digest) for each in changes if each.status == "approved"}
    for name, serving in deployments.items():
        for digest in {serving.stable, serving.canary, serving.shadow} - {None}:
            assert digest is not None
            assert (name, digest) in approved, f"{digest[:12]} serves {name}, but no change of it is approved"
            revision = world.run(world.at.revisions.get(digest))
            assert revision is not None, f"{digest[:12]} serves {name}, but is not stored"
            _check_attested(world, revision.attestation, "revision", digest)
            if world.run(world.at.revisions.is_quarantined(digest)):
                _check_refused(world, f"{name}@{digest}")


def _check_refused(world: World, reference: str) -> None:
    try:
        world.run(resolved(reference, world.at))
    except NotAttestedError:
        return
    raise AssertionError(f"{reference} is quarantined and can be run")


def check_frozen(frozen: set[str], before: Mapping[str, Deployment], after: Mapping[str, Deployment]) -> None:
    """What is frozen goes nowhere but back."""
    for name in frozen:
        now, was = after.get(name), before.get(name)
        if now is None or was is None:
            assert now is None, f"{name} came into service while it is frozen"
            continue
        assert now.stable in (was.stable, *was.previous), f"{now.stable[:12]} became stable while {name} is frozen"
        assert now.canary in (was.canary, None), f"{now.canary} became the canary while {name} is frozen"
        if now.canary is not None and now.rollout is not None and was.rollout is not None:
            assert now.rollout.share <= was.rollout.share, f"a rollout of {name} went up while it is frozen"
        assert now.maturity == was.maturity, f"the maturity of {name} changed while it is frozen"


def check_ended(world: World) -> None:
    """Nothing is stuck: every change and every rollout came to an end, and no canary is one that nobody may run."""
    for record in world.changes():
        assert record.status in ENDED, f"{record.change_id} ({record.kind}) is stuck as {record.status}; {world.refusals[-3:]}"
        took_effect = record.applied or (not record.deploy and world.run(world.at.revisions.get(record.digest)) is not None)
        assert record.status != "approved" or took_effect, f"{record.change_id} is approved and never took effect"
        assert not record.held_by, f"{record.change_id} is held by {record.held_by}, which is over"
        assert record.glass is None or record.glass.status not in ("open",), f"the glass of {record.change_id} stays broken"
    assert [_said(each) for each in world.rollouts()] == [], "rollouts are stuck"
    for name, serving in world.deployments().items():
        assert serving.canary is None, f"{name} keeps a canary without a rollout"


def _said(record: RolloutRecord) -> str:
    return f"{record.rollout_id} of {record.pipeline} is {record.state}: {record.waits_for or record.paused_for}"


def check_audited(world: World) -> None:
    """The log verifies, and every decision and everything that serves has its entry."""
    assert world.run(world.at.audit.check()) == ()
    keys = {entry.key for entry in world.run(world.at.audit.entries())}
    for record in world.changes():
        assert f"change:{record.change_id}:{record.status}" in keys, f"the {record.status} of {record.change_id} is not in the log"
        for each in record.decisions:
            assert f"review:{record.change_id}:{each.decision_id}" in keys, f"a decision on {record.change_id} is not in the log"
        if record.status == "approved" and record.generation:
            assert f"change:{record.change_id}:deployed" in keys, f"what {record.change_id} did is not in the log"
