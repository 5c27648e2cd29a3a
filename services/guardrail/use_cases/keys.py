"""Keys change: what is approved is signed again under the key that signs now, if the audit log proves that it was approved."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from services.guardrail.domain.audit import AuditNote
from services.guardrail.domain.keys import Keys
from services.guardrail.domain.records import RevisionRecord
from services.guardrail.ports import AuditLogUnsoundError, Guardrail
from services.guardrail.use_cases.auditing import require_checked_log
from services.guardrail.use_cases.policies import is_activation_proven, sign_policy_again
from services.guardrail.use_cases.telling import Effects, outcome_key
from shared.errors import InvalidInputError
from shared.events.recovery import GetKeys, KeysChanged
from shared.pipeline.loading import load_document


@dataclass(frozen=True)
class Resigned:
    count: int
    unproven: tuple[str, ...]


async def adopt_keys(at: Guardrail, among: Sequence[str] | None = None) -> Effects:
    """Notes what changed, and signs again the policy in force and what is approved under any other key. Repeatable; each is written
    by compare-and-set. `among`: only what one of these keys signed, for a look that does not cost with all that was ever approved.
    """
    keys = at.signer.ring()
    await _note(keys, at)
    policies, unproven = await sign_policy_again(keys.signing, at)
    done = await _signed_again(keys, at, among)
    count = done.count + policies
    fact = KeysChanged(
        signing=keys.signing,
        trusted=keys.trusted,
        revoked=keys.revoked,
        reattested=count,
        unproven=(*done.unproven, *unproven),
    )
    return [(f"keys:{keys.signing}:{','.join(keys.trusted)}:{','.join(keys.revoked)}:{count}", fact)]


async def get_keys(query: GetKeys, at: Guardrail) -> dict[str, Any]:
    """Tells what can be told where the audit log is not sound, and that it is not."""
    keys = at.signer.ring()
    others = await at.revisions.signed_otherwise(keys.signing)
    attested = Counter(each.attestation.key_id for each in others)
    unproven = [each.digest for each in others if not await is_proven(each, at)]
    active = await at.policies.active()
    if active is not None and active.attestation is not None and active.attestation.key_id != keys.signing:
        attested[active.attestation.key_id] += 1
        with suppress(AuditLogUnsoundError):  # told below
            unproven += [] if await is_activation_proven(active, at) else [active.digest]
    return {
        "signing": keys.signing,
        "trusted": list(keys.trusted),
        "revoked": list(keys.revoked),
        "attested": dict(attested),
        "unproven": unproven,
        "faults": _faults(at),
    }


def _faults(at: Guardrail) -> list[str]:
    try:
        at.audit.require_sound()
    except AuditLogUnsoundError as error:
        return [f"nothing is signed again: {error}"]
    return []


async def is_proven(revision: RevisionRecord, at: Guardrail) -> bool:
    """Whether the audit log holds that exactly this document was approved under this name. The store alone proves nothing: who
    could write into it would have anything signed."""
    entry = await at.audit.find(outcome_key(revision.change_id, "approved"))
    if entry is None or (entry.digest, entry.subject) != (revision.digest, revision.pipeline):
        return False
    try:
        return load_document(revision.document).digest == revision.digest
    except InvalidInputError:
        return False


async def _signed_again(keys: Keys, at: Guardrail, among: Sequence[str] | None) -> Resigned:
    """Validity stays as it was: a new key makes nothing valid for longer."""
    now, count, unproven, is_checked = at.clock.now(), 0, [], False
    for revision in await at.revisions.signed_otherwise(keys.signing, among):
        former = revision.attestation
        if datetime.fromisoformat(former.expires_at) <= now:
            continue
        if not await is_proven(revision, at):
            unproven.append(revision.digest)
            continue
        if not is_checked:
            await require_checked_log(at)
            is_checked = True
        renewed = at.signer.sign(former.model_copy(update={"issued_at": now.isoformat()}))
        count += await at.revisions.reattest(revision.digest, renewed, from_key=former.key_id)
    return Resigned(count, tuple(unproven))


async def _note(keys: Keys, at: Guardrail) -> None:
    now = at.clock.now().isoformat()
    found = [("signs", keys.signing), *(("trusted", each) for each in keys.trusted), *(("revoked", each) for each in keys.revoked)]
    for what, key in found:
        note = AuditNote(key=f"key:{key}:{what}", at=now, action=f"key.{what}", actor="key files", subject=key, facts={})
        await at.audit.append(note)
