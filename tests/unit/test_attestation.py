from __future__ import annotations

import stat
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from shared.attestation import (
    Verifier,
    create_key_pair,
    key_id,
    load_private_key,
    public_pem,
    scope_digest,
    sign,
    verify_scope,
)
from shared.errors import ConfigurationError, NotAttestedError
from shared.events.values import Attestation, Budget, TrialScope

NOW = datetime(2026, 11, 22, 12, 0, tzinfo=UTC)
DIGEST = "a" * 64


@pytest.fixture
def key() -> Ed25519PrivateKey:
    return Ed25519PrivateKey.generate()


def attestation(**changes: str) -> Attestation:
    fields: dict[str, str] = {
        "kind": "revision",
        "digest": DIGEST,
        "scope": "triage",
        "domain": "support",
        "policy_revision": "p1",
        "issued_at": NOW.isoformat(),
        "expires_at": (NOW + timedelta(days=1)).isoformat(),
        "key_id": "",
    }
    return Attestation.model_validate({**fields, **changes})


def trial_scope() -> TrialScope:
    return TrialScope(
        scope_id="s1",
        purpose="generation",
        holder="generator",
        domain="support",
        step_types=("claude",),
        providers=("claude",),
        functions=(),
        budget=Budget(runs=10, calls=10, tokens=1000, cost_usd=0.1),
        expires_at=(NOW + timedelta(minutes=5)).isoformat(),
    )


def refused(verifier: Verifier, signed: Attestation, **wanted: object) -> str:
    asked = {"kind": "revision", "digest": DIGEST, "now": NOW, **wanted}
    with pytest.raises(NotAttestedError) as caught:
        verifier.verify(signed, **asked)  # type: ignore[arg-type]
    return str(caught.value)


def test_a_signed_attestation_verifies_and_survives_the_wire(key: Ed25519PrivateKey) -> None:
    signed = Attestation.model_validate_json(sign(key, attestation()).model_dump_json())
    Verifier(public_pem(key.public_key())).verify(signed, kind="revision", digest=DIGEST, now=NOW, scope="triage")
    assert signed.key_id == key_id(key.public_key())


def test_an_unsigned_attestation_is_refused(key: Ed25519PrivateKey) -> None:
    unsigned = attestation(key_id=key_id(key.public_key()))
    assert "not signed" in refused(Verifier(public_pem(key.public_key())), unsigned)


def test_a_self_signed_attestation_is_refused(key: Ed25519PrivateKey) -> None:
    trusted = Verifier(public_pem(key.public_key()))
    forged = sign(Ed25519PrivateKey.generate(), attestation())
    assert "not trusted" in refused(trusted, forged)
    assert "does not fit" in refused(trusted, forged.model_copy(update={"key_id": key_id(key.public_key())}))


@pytest.mark.parametrize(
    "change",
    [
        {"digest": "b" * 64},
        {"kind": "scope"},
        {"scope": "other"},
        {"domain": "finance"},
        {"policy_revision": "p2"},
        {"expires_at": "2099-01-01T00:00:00+00:00"},
        {"issued_at": "2020-01-01T00:00:00+00:00"},
        {"signature": "!!!not base64"},
        {"signature": "AAAA"},
    ],
)
def test_every_field_is_under_the_signature(key: Ed25519PrivateKey, change: dict[str, str]) -> None:
    changed = sign(key, attestation()).model_copy(update=change)
    assert "does not fit" in refused(Verifier(public_pem(key.public_key())), changed, digest=changed.digest, kind=changed.kind)


def test_an_attestation_for_something_else_is_refused(key: Ed25519PrivateKey) -> None:
    verifier, signed = Verifier(public_pem(key.public_key())), sign(key, attestation())
    assert "digest" in refused(verifier, signed, digest="b" * 64)
    assert "kind" in refused(verifier, signed, kind="template")
    assert "scope" in refused(verifier, signed, scope="other_pipeline")


def test_an_expired_attestation_is_refused_to_the_second(key: Ed25519PrivateKey) -> None:
    verifier, signed = Verifier(public_pem(key.public_key())), sign(key, attestation())
    verifier.verify(signed, kind="revision", digest=DIGEST, now=NOW + timedelta(days=1, seconds=-1))
    assert "expired" in refused(verifier, signed, now=NOW + timedelta(days=1))


def test_an_attestation_from_ten_minutes_ahead_is_refused(key: Ed25519PrivateKey) -> None:
    verifier, signed = Verifier(public_pem(key.public_key())), sign(key, attestation())
    verifier.verify(signed, kind="revision", digest=DIGEST, now=NOW - timedelta(minutes=1))
    assert "future" in refused(verifier, signed, now=NOW - timedelta(minutes=10))


@pytest.mark.parametrize("field", ["issued_at", "expires_at"])
@pytest.mark.parametrize("text", ["soon", "2026-11-22T12:00:00"])
def test_a_signed_but_unreadable_time_is_refused(key: Ed25519PrivateKey, field: str, text: str) -> None:
    verifier = Verifier(public_pem(key.public_key()))
    assert text in refused(verifier, sign(key, attestation(**{field: text})))


def test_both_keys_of_a_rotation_are_trusted_until_the_old_one_is_taken_out(key: Ed25519PrivateKey) -> None:
    new = Ed25519PrivateKey.generate()
    both = Verifier(public_pem(key.public_key()) + public_pem(new.public_key()))
    for signer in (key, new):
        both.verify(sign(signer, attestation()), kind="revision", digest=DIGEST, now=NOW)
    assert "not trusted" in refused(Verifier(public_pem(new.public_key())), sign(key, attestation()))


def test_a_scope_cannot_be_widened_after_it_was_signed(key: Ed25519PrivateKey) -> None:
    verifier, scope = Verifier(public_pem(key.public_key())), trial_scope()
    signed = sign(key, attestation(kind="scope", digest=scope_digest(scope), scope="generation"))
    verify_scope(verifier, scope, signed, now=NOW)
    wider = scope.model_copy(update={"budget": Budget(runs=10_000, calls=10_000)})
    with pytest.raises(NotAttestedError, match="digest"):
        verify_scope(verifier, wider, signed, now=NOW)


def test_a_scope_ends_when_it_says_even_under_a_longer_attestation(key: Ed25519PrivateKey) -> None:
    scope = trial_scope()
    signed = sign(key, attestation(kind="scope", digest=scope_digest(scope), scope="generation"))
    with pytest.raises(NotAttestedError, match="ended"):
        verify_scope(Verifier(public_pem(key.public_key())), scope, signed, now=NOW + timedelta(minutes=5))


def test_created_keys_are_private_and_kept(tmp_path: Path) -> None:
    first = create_key_pair(tmp_path / "keys")
    content = first.private.read_bytes(), first.public.read_bytes()
    assert stat.S_IMODE(first.private.stat().st_mode) == 0o600
    second = create_key_pair(tmp_path / "keys")
    assert (second.private.read_bytes(), second.public.read_bytes()) == content
    assert sorted(path.name for path in (tmp_path / "keys").iterdir()) == ["guardrail.key", "guardrail.pub"]


def test_a_lost_public_key_file_is_made_again_from_the_private_key(tmp_path: Path) -> None:
    paths = create_key_pair(tmp_path)
    before = paths.public.read_bytes()
    paths.public.unlink()
    assert create_key_pair(tmp_path).public.read_bytes() == before


def test_a_private_key_that_others_can_read_is_not_used(tmp_path: Path) -> None:
    paths = create_key_pair(tmp_path)
    paths.private.chmod(0o640)
    with pytest.raises(ConfigurationError, match="open to others"):
        load_private_key(paths.private)


@pytest.mark.parametrize("pem", [b"", b"-----BEGIN PUBLIC KEY-----\nAAAA\n-----END PUBLIC KEY-----"])
def test_a_verifier_without_a_usable_key_cannot_be_made(pem: bytes) -> None:
    with pytest.raises(ConfigurationError):
        Verifier(pem)


def test_a_missing_public_key_file_says_which(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match=r"nowhere\.pub"):
        Verifier.from_file(tmp_path / "nowhere.pub")
