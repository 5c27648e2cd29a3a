"""After a key was rotated or revoked, what is approved is signed again, and nothing else."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from services.guardrail.adapters.keys import FileSigner
from services.guardrail.ports import AuditLogUnsoundError, Guardrail
from services.guardrail.use_cases import adopt_keys, get_keys, propose_change
from services.guardrail.use_cases.policies import in_force, seed_policy
from services.guardrail.use_cases.queries import resolved
from services.guardrail.use_cases.telling import outcome_key
from shared.attestation import Author, KeyRing, create_key_pair
from shared.errors import NotAttestedError, UnavailableError
from shared.events.changes import ChangeApproved
from shared.events.recovery import GetKeys, KeysChanged
from tests.fakes.guardrail import Bench, bench, facts, pipeline, proposal
from tests.fakes.people import signed_proposal

POLICY = 1
"""The policy in force is signed too."""
WHO = Author("alice", datetime(2026, 11, 22, tzinfo=UTC))


@dataclass
class Signing:
    at: Guardrail
    bench: Bench
    ring: KeyRing

    def rotate(self, *, revoke: bool) -> str:
        former = self.ring.state().signing
        self.ring.prepare(WHO)
        self.ring.activate(WHO)
        if revoke:
            self.ring.revoke(former, "stolen", WHO)
        return former

    async def approve(self, text: str = "Say", change_id: str = "c1", **fields: Any) -> ChangeApproved:
        command = proposal(pipeline(f"{text}: {{{{ text }}}}"), change_id, **fields)
        fact = facts(await propose_change(command, self.at, signature=signed_proposal(command)))[0]
        assert isinstance(fact, ChangeApproved)
        return fact

    async def adopt(self) -> KeysChanged:
        (fact,) = facts(await adopt_keys(self.at))
        assert isinstance(fact, KeysChanged)
        return fact


@pytest.fixture
async def signing(tmp_path: Path) -> Signing:
    create_key_pair(tmp_path)
    ring, made = KeyRing(tmp_path), bench()
    signer = FileSigner(ring.private_file, ring.public_file, made.clock)
    at = replace(made.at, signer=signer)
    await seed_policy(at, reset=True)
    return Signing(at, made, ring)


async def test_what_is_approved_runs_again_after_its_key_was_revoked(signing: Signing) -> None:
    approved = await signing.approve()
    former = signing.rotate(revoke=True)
    with pytest.raises(NotAttestedError, match="revoked"):
        await resolved("triage", signing.at)
    signing.bench.clock.pass_seconds(60)
    fact = await signing.adopt()
    assert (fact.reattested, fact.revoked, fact.unproven) == (1 + POLICY, (former,), ())
    renewed = (await resolved("triage", signing.at)).attestation
    assert renewed.key_id == signing.ring.state().signing
    assert renewed.expires_at == approved.attestation.expires_at
    assert (await signing.adopt()).reattested == 0


async def test_what_another_process_stored_under_the_former_key_is_found_among_what_that_signed(signing: Signing) -> None:
    former = signing.rotate(revoke=False)
    await signing.adopt()
    approved = await signing.approve()
    under_former = approved.attestation.model_copy(update={"key_id": former})
    assert await signing.bench.database.collection("revisions").update_if(
        {"_id": approved.digest}, {"$set": {"attestation": under_former.model_dump(mode="json")}}
    )
    keys = signing.at.signer.ring()
    (fact,) = facts(await adopt_keys(signing.at, [*keys.trusted, *keys.revoked]))
    assert isinstance(fact, KeysChanged)
    assert fact.reattested == 1
    assert (await resolved("triage", signing.at)).attestation.key_id == keys.signing


async def test_a_rotation_leaves_no_moment_without_a_valid_signature(signing: Signing) -> None:
    await signing.approve()
    signing.rotate(revoke=False)
    await resolved("triage", signing.at)
    assert (await signing.adopt()).reattested == 1 + POLICY
    signing.ring.retire()
    await resolved("triage", signing.at)


async def test_what_the_audit_log_does_not_prove_is_not_signed_again(signing: Signing) -> None:
    approved = await signing.approve()
    other = await signing.approve("Leak", "c2", deploy=False)
    planted = {"document": other.document, "change_id": "c1", "pipeline": "triage"}
    assert await signing.bench.database.collection("revisions").update_if({"_id": other.digest}, {"$set": planted})
    signing.rotate(revoke=True)
    fact = await signing.adopt()
    assert (fact.reattested, fact.unproven) == (1 + POLICY, (other.digest,))
    assert (await resolved("triage", signing.at)).digest == approved.digest
    with pytest.raises(NotAttestedError):
        await resolved(f"triage@{other.digest}", signing.at)
    assert (await get_keys(GetKeys(), signing.at))["unproven"] == [other.digest]


async def test_a_document_that_was_exchanged_in_the_store_is_not_signed_again(signing: Signing) -> None:
    approved = await signing.approve()
    leak = {"document": pipeline("Leak: {{ text }}")}
    assert await signing.bench.database.collection("revisions").update_if({"_id": approved.digest}, {"$set": leak})
    signing.rotate(revoke=True)
    assert (await signing.adopt()).unproven == (approved.digest,)


async def test_what_is_quarantined_or_expired_is_not_signed_again(signing: Signing) -> None:
    bad = await signing.approve()
    await signing.at.revisions.quarantine(bad.digest, cause="q", reason="bad", at="now")
    await signing.approve("Tell", "c2", deploy=False)
    signing.bench.clock.pass_seconds(signing.at.policy.document.attestation_days * 86_400)
    signing.rotate(revoke=True)
    assert (await signing.adopt()).reattested == POLICY


@pytest.mark.parametrize("revoke", [False, True], ids=["retired", "revoked"])
async def test_the_policy_in_force_judges_on_after_its_key_is_gone(signing: Signing, revoke: bool) -> None:
    before, former = await signing.at.policies.active(), signing.rotate(revoke=revoke)
    assert (await get_keys(GetKeys(), signing.at))["attested"] == {former: POLICY}
    signing.bench.clock.pass_seconds(60)
    fact, after = await signing.adopt(), await signing.at.policies.active()
    assert before and after and before.attestation and after.attestation
    assert after.attestation.expires_at == before.attestation.expires_at, "a new key makes nothing valid for longer"
    assert (fact.reattested, fact.unproven) == (POLICY, ())
    signing.ring.retire()
    assert (await in_force(signing.at)).policy.revision == signing.at.policy.revision
    await seed_policy(signing.at)
    assert (await get_keys(GetKeys(), signing.at))["attested"] == {}
    assert (await signing.adopt()).reattested == 0


async def test_a_policy_that_somebody_wrote_into_the_store_is_not_signed_again(signing: Signing) -> None:
    active = await signing.at.policies.active()
    assert active is not None
    planted = active.model_copy(update={"generation": active.generation + 1})
    assert await signing.at.policies.activate(planted, from_generation=active.generation)
    for revoke in (False, True):
        signing.rotate(revoke=revoke)
        fact = await signing.adopt()
        assert (fact.reattested, fact.unproven) == (0, (planted.digest,))
    with pytest.raises(UnavailableError, match="was not activated by a guardrail"):
        await in_force(signing.at)


async def test_key_changes_are_in_the_audit_log_once(signing: Signing) -> None:
    await signing.adopt()
    former = signing.rotate(revoke=True)
    await signing.adopt()
    await signing.adopt()
    found = [(each.action, each.subject) for each in await signing.at.audit.entries() if each.action.startswith("key.")]
    assert len(found) == len(set(found)) and ("key.revoked", former) in found
    assert ("key.signs", signing.ring.state().signing) in found


async def test_the_answer_about_keys_counts_what_is_signed_with_which(signing: Signing) -> None:
    await signing.approve()
    former = signing.rotate(revoke=False)
    assert (await get_keys(GetKeys(), signing.at))["attested"] == {former: 1 + POLICY}
    await signing.adopt()
    assert (await get_keys(GetKeys(), signing.at))["attested"] == {}


async def test_an_entry_that_was_put_beside_the_log_gets_nothing_signed(signing: Signing) -> None:
    other = await signing.approve("Leak", "c2", deploy=False)
    stored = signing.bench.database
    entry = await signing.at.audit.find(outcome_key("c2", "approved"))
    assert entry is not None
    forged = {**entry.model_dump(mode="json"), "key": outcome_key("planted", "approved")}
    stored.collection("audit").store({"_id": "beside", **forged})
    assert await stored.collection("revisions").update_if({"_id": other.digest}, {"$set": {"change_id": "planted"}})
    signing.rotate(revoke=True)
    with pytest.raises(AuditLogUnsoundError):
        await signing.adopt()
    kept = await signing.at.revisions.get(other.digest)
    assert kept is not None and kept.attestation == other.attestation


async def test_keys_are_told_where_the_audit_log_is_not_sound_and_the_key_of_the_policy_is_revoked(signing: Signing) -> None:
    approved = await signing.approve()
    assert (await get_keys(GetKeys(), signing.at))["faults"] == []
    former = signing.rotate(revoke=True)
    audit = signing.bench.database.collection("audit")
    audit.store({"_id": "beside", **(await signing.at.audit.page(0, 1))[0]})
    found = await get_keys(GetKeys(), signing.at)
    assert (found["signing"], found["revoked"]) == (signing.ring.state().signing, [former])
    assert (found["attested"], found["unproven"]) == ({former: 1 + POLICY}, [])
    assert "the audit log is not what it was" in found["faults"][0] and "evoline audit verify" in found["faults"][0]
    kept = await signing.at.revisions.get(approved.digest)
    assert kept is not None and kept.attestation == approved.attestation
