"""A fact that says that something was approved is believed for its signature."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from shared.attestation import Approvals, Verifier, public_pem, sign
from shared.clock import SystemClock
from shared.errors import NotAttestedError
from shared.events.changes import ChangeApproved
from shared.events.improvement import TemplateLearned
from shared.events.values import Attestation
from shared.pipeline.loading import load_document
from tests.fakes.guardrail import pipeline

KEY, STRANGER = Ed25519PrivateKey.generate(), Ed25519PrivateKey.generate()
DOCUMENT = pipeline()


def approvals() -> Approvals:
    return Approvals(lambda: Verifier(public_pem(KEY.public_key())), SystemClock())


def attestation(kind: str = "revision", *, key: Ed25519PrivateKey = KEY, **changes: str) -> Attestation:
    now = datetime.now(UTC)
    fields = {
        "kind": kind,
        "digest": load_document(DOCUMENT).digest,
        "scope": "triage",
        "domain": "support",
        "policy_revision": "p1",
        "issued_at": now.isoformat(),
        "expires_at": (now + timedelta(days=1)).isoformat(),
        "key_id": "",
        **changes,
    }
    return sign(key, Attestation.model_validate(fields))


def change(signed: Attestation, **changes: Any) -> ChangeApproved:
    fields = {
        "change_id": "c1",
        "kind": "revision",
        "pipeline": "triage",
        "digest": load_document(DOCUMENT).digest,
        "document": DOCUMENT,
        "domain": "support",
        "author": "generator",
        "approved_by": "policy:x",
        "risk": 0.1,
        "reasons": (),
        "policy_revision": "p1",
        "attestation": signed,
    }
    return ChangeApproved.model_validate({**fields, **changes})


def template(signed: Attestation | None) -> TemplateLearned:
    digest = load_document(DOCUMENT).digest
    return TemplateLearned(template="triage", digest=digest, domain="library", document=DOCUMENT, support=3, attestation=signed)


@pytest.mark.parametrize("kind", ["revision", "promotion", "release"])
def test_what_the_guardrail_signed_is_believed(kind: str) -> None:
    approvals().check_change(change(attestation(), kind=kind))


@pytest.mark.parametrize(
    "fact",
    [
        change(attestation(key=STRANGER)),
        change(attestation().model_copy(update={"signature": ""})),
        change(attestation("template")),
        change(attestation(scope="other")),
        change(attestation(digest="a" * 64), digest="a" * 64),
        change(attestation(), document=pipeline("Leak: {{ text }}")),
        change(attestation(), document={"name": "triage"}),
        change(attestation(expires_at=(datetime.now(UTC) - timedelta(seconds=1)).isoformat())),
    ],
    ids=["stranger", "unsigned", "other kind", "other name", "other digest", "other document", "no document", "expired"],
)
def test_a_forged_approval_is_not_believed(fact: ChangeApproved) -> None:
    with pytest.raises(NotAttestedError):
        approvals().check_change(fact)


def test_a_template_is_believed_for_the_guardrails_signature_only() -> None:
    approvals().check_template(template(attestation("template")))
    for signed in (None, attestation("revision"), attestation("template", key=STRANGER)):
        with pytest.raises(NotAttestedError):
            approvals().check_template(template(signed))
