"""Which policy is in force: read before every decision, changed by one compare-and-set, signed."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timedelta

from services.guardrail.domain.audit import AuditNote
from services.guardrail.domain.policies import SIGNED_DAYS, ActivePolicy, PolicyRecord, PolicySource, followed
from services.guardrail.domain.policy import Policy
from services.guardrail.ports import Guardrail, LostRaceError
from services.guardrail.use_cases.auditing import require_checked_log
from services.guardrail.use_cases.telling import Effects
from shared.errors import ConfigurationError, NotAttestedError, UnavailableError
from shared.events.policies import PolicyActivated
from shared.events.values import Attestation

FILE = "file"
RESET = (
    "Where it is lost, start the guardrail once with EVOLINE_GUARDRAIL_POLICY_RESET=true: "
    "the policy file is put in force in its place"
)
ACTIVATED = "policy.activated"
RECENT = 20
"""Activations looked at for the last one: two processes may log theirs in another order than they took place."""
MAX_RACES = 20


async def in_force(at: Guardrail) -> Guardrail:
    """The same guardrail under the policy that is in force now. Raises `UnavailableError`: without a policy nothing is judged."""
    active = await at.policies.active()
    if active is None:
        raise UnavailableError(f"no policy is in force: the store holds none; restore it. {RESET}")
    if active.generation < at.loaded.generation:
        raise UnavailableError(
            f"activation {at.loaded.generation} of the policy was in force and the store says {active.generation}: "
            f"the store was set back; restore it. {RESET}"
        )
    if at.loaded.active != active:
        at.loaded.remember(active, await _loaded(active, at))
    assert at.loaded.policy is not None, "what is remembered is whole"
    return replace(at, policy=at.loaded.policy)


async def seed_policy(at: Guardrail, *, reset: bool = False) -> Effects:
    """Puts the policy of the file in force where the store has none, or where what is in force came from a file too.

    What people activated is never overwritten by a restart. `reset`: it is, and nothing that the store says is believed.
    Raises `ConfigurationError` where the store does not hold what the audit log says was activated last."""
    for _ in range(MAX_RACES):
        active = await at.policies.active()
        logged = await _last_logged(active.generation if active else 0, at)
        if not reset and logged > (active.generation if active else 0):
            holds = f"says {active.generation}" if active else "holds none"
            raise ConfigurationError(
                f"the audit log holds activation {logged} of the policy and the store {holds}: the store was set back; "
                f"restore it. {RESET}"
            )
        if active is not None and not reset:
            await _trusted(active, at)
            if active.source == "change":
                return []
            if active.revision == at.policy.revision:
                return await _told(active, at)
        try:
            return await _seeded(active, logged, at)
        except LostRaceError:
            reset = False
    raise UnavailableError("the policy in force is changed by other processes all the time")


async def _last_logged(generation: int, at: Guardrail) -> int:
    """An activation is in force before it is logged, so the log may be behind the store and never ahead of it."""
    found = await at.audit.matching({"action": ACTIVATED}, RECENT)
    return max((generation, *(int(each["facts"]["generation"]) for each in found)))


async def _seeded(active: ActivePolicy | None, logged: int, at: Guardrail) -> Effects:
    cause = f"{FILE}:{logged + 1}"
    record = PolicyRecord.of(at.policy, source="file", author="evoline", approved_by=cause, created_at=at.clock.now().isoformat())
    await at.policies.add(record)
    return await _told(await moved(at, active, at.policy, "file", cause, after=logged), at)


async def _told(active: ActivePolicy, at: Guardrail) -> Effects:
    """The same however often: a crash may have come between the activation and the telling."""
    cause, previous = f"{FILE}:{active.generation}", active.previous[-1] if active.previous else ""
    await at.audit.append(activation_note(active, cause, FILE, previous))
    fact = activated_fact(active, at.policy.document.version, cause, FILE, previous)
    return [(f"policy:{active.generation}", fact)]


async def moved(
    at: Guardrail, active: ActivePolicy | None, policy: Policy, source: PolicySource, cause: str, *, after: int = 0
) -> ActivePolicy:
    """Its generation is above `after` in any case. Raises `LostRaceError` where another activation was faster."""
    next_one = followed(active, policy, source, cause, at.clock.now().isoformat(), after=after)
    next_one = signed(next_one, at)
    if not await at.policies.activate(next_one, from_generation=active.generation if active else 0):
        raise LostRaceError("another policy was activated at this moment")
    return next_one


def signed(active: ActivePolicy, at: Guardrail, *, until: str = "") -> ActivePolicy:
    """`until`: not valid beyond this moment either."""
    now = at.clock.now()
    longest = now + timedelta(days=SIGNED_DAYS)
    expires = min(longest, datetime.fromisoformat(until)) if until else longest
    attestation = Attestation(
        kind="policy",
        digest=active.digest,
        scope=active.policy,
        domain="general",
        policy_revision=active.revision,
        issued_at=now.isoformat(),
        expires_at=expires.isoformat(),
        key_id="",
    )
    return active.model_copy(update={"attestation": at.signer.sign(attestation)})


async def sign_policy_again(signing: str, at: Guardrail) -> tuple[int, tuple[str, ...]]:
    """(1 where the policy in force was signed anew under the key `signing`, its digest where nothing proves its activation).

    A signature that is still trusted proves it; after the key was revoked only the audit log does, and only of the newest one.
    Validity stays as it was: a new key makes nothing valid for longer."""
    active = await at.policies.active()
    if active is None or active.attestation is None or active.attestation.key_id == signing:
        return 0, ()
    if not await is_activation_proven(active, at):
        return 0, (active.digest,)
    renewed = signed(active, at, until=active.attestation.expires_at)
    return int(await at.policies.activate(renewed, from_generation=active.generation)), ()


async def is_activation_proven(active: ActivePolicy, at: Guardrail) -> bool:
    try:
        if active.attestation is not None:
            at.signer.check(active.attestation, kind="policy", digest=active.digest)
            return True
    except NotAttestedError:
        pass
    await require_checked_log(at)
    entry = await at.audit.find(f"policy:{active.generation}")
    named = entry is not None and (entry.digest, entry.subject) == (active.revision, active.policy)
    return named and await _last_logged(active.generation, at) == active.generation


async def _trusted(active: ActivePolicy, at: Guardrail) -> None:
    """Raises `ConfigurationError` with the way out."""
    try:
        await _loaded(active, at)
    except UnavailableError as error:
        raise ConfigurationError(f"{error}. Restore the store, or the guardrail's key. {RESET}") from error


async def _loaded(active: ActivePolicy, at: Guardrail) -> Policy:
    """The policy behind it, checked to be what the guardrail signed. Raises `UnavailableError`."""
    what = f"the policy in force ({active.revision[:12]}, activation {active.generation})"
    try:
        if active.attestation is None:
            raise NotAttestedError("it is not signed")
        at.signer.check(active.attestation, kind="policy", digest=active.digest)
    except NotAttestedError as error:
        raise UnavailableError(f"{what} was not activated by a guardrail: {error}; nothing is judged by it") from error
    if active.revision == at.policy.revision:
        return at.policy
    record = await at.policies.get(active.revision)
    if record is None:
        raise UnavailableError(f"{what} is not in the store; nothing can be judged")
    try:
        policy = Policy.parse(record.document, what)
    except ConfigurationError as error:
        raise UnavailableError(f"{what} cannot be used by this version: {error}") from error
    if policy.revision != active.revision:
        raise UnavailableError(f"{what} was changed in the store: its content is that of {policy.revision[:12]}")
    return policy


def activated_fact(active: ActivePolicy, version: int, change_id: str, by: str, previous: str) -> PolicyActivated:
    return PolicyActivated(
        policy=active.policy,
        version=version,
        revision=active.revision,
        previous_revision=previous,
        change_id=change_id,
        activated_by=by,
        generation=active.generation,
    )


def activation_note(active: ActivePolicy, change_id: str, by: str, previous: str) -> AuditNote:
    return AuditNote(
        key=f"policy:{active.generation}",
        at=active.updated_at,
        action=ACTIVATED,
        actor=by,
        subject=active.policy,
        digest=active.revision,
        policy_revision=previous,
        facts={"change_id": change_id, "previous_revision": previous, "generation": active.generation},
    )
