"""Keys are rotated and revoked by files alone, whatever crashes, and are trusted by everybody in time."""

from __future__ import annotations

import stat
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from services.guardrail.adapters.keys import FileSigner
from shared.attestation import Author, KeyFile, KeyRing, Verifier, create_key_pair
from shared.clock import SystemClock
from shared.errors import ConfigurationError, InvalidInputError, NotAttestedError, NotFoundError, UnavailableError
from shared.events.values import Attestation

WHO = Author("alice\nrevoked: 0000000000000000", datetime(2026, 11, 22, tzinfo=UTC))
DIGEST = "a" * 64


@pytest.fixture
def ring(tmp_path: Path) -> KeyRing:
    create_key_pair(tmp_path)
    return KeyRing(tmp_path)


def signer(ring: KeyRing) -> FileSigner:
    return FileSigner(ring.private_file, ring.public_file, SystemClock())


def unsigned() -> Attestation:
    now = datetime.now(UTC)
    return Attestation(
        kind="revision",
        digest=DIGEST,
        scope="triage",
        domain="support",
        policy_revision="p",
        issued_at=now.isoformat(),
        expires_at=(now + timedelta(days=1)).isoformat(),
        key_id="",
    )


def is_believed(verifier: Verifier, signed: Attestation) -> bool:
    try:
        verifier.verify(signed, kind="revision", digest=DIGEST, now=datetime.now(UTC))
    except NotAttestedError:
        return False
    return True


def test_the_next_key_is_trusted_before_anything_is_signed_with_it(ring: KeyRing) -> None:
    executor, guardrails = KeyFile(ring.public_file), [signer(ring), signer(ring)]
    old = guardrails[0].sign(unsigned())
    prepared = ring.prepare(WHO)
    assert prepared in executor.verifier().key_ids
    assert [each.sign(unsigned()).key_id for each in guardrails] == [old.key_id] * 2
    assert ring.activate(WHO) == prepared
    for each in guardrails:
        fresh = each.sign(unsigned())
        assert fresh.key_id == prepared
        assert is_believed(executor.verifier(), fresh) and is_believed(executor.verifier(), old)
        each.check(old, kind="revision", digest=DIGEST)
    assert ring.retire() == (old.key_id,)
    assert not is_believed(executor.verifier(), old)
    assert is_believed(executor.verifier(), fresh)


def test_every_phase_done_twice_is_done_once(ring: KeyRing) -> None:
    first = ring.state().signing
    assert ring.prepare(WHO) == ring.prepare(WHO) == ring.state().prepared
    assert ring.activate(WHO) == ring.activate(WHO) == ring.state().signing
    assert (ring.state().prepared, ring.state().former) == ("", (first,))
    ring.revoke(first, "stolen", WHO)
    content = ring.public_file.read_bytes()
    ring.revoke(first, "stolen", WHO)
    assert ring.public_file.read_bytes() == content
    assert ring.retire() == ()


def test_the_public_half_of_a_retired_key_is_kept_apart_and_may_still_be_revoked(ring: KeyRing) -> None:
    first = ring.state().signing
    ring.prepare(WHO)
    second = ring.activate(WHO)
    ring.retire()
    ring.prepare(WHO)
    ring.activate(WHO)
    ring.retire()
    assert Verifier(ring.retired_file.read_bytes()).key_ids == tuple(sorted((first, second)))
    assert set(ring.state().trusted).isdisjoint((first, second))
    ring.revoke(first, "found on a disk", WHO)
    both = Verifier(ring.public_file.read_bytes() + ring.retired_file.read_bytes())
    assert both.key_ids == tuple(sorted((second, ring.state().signing)))


@pytest.mark.parametrize("step", ["next key made", "published", "activated"])
def test_an_interrupted_rotation_is_gone_on_with(ring: KeyRing, step: str) -> None:
    before = ring.state().signing
    content = ring.public_file.read_bytes()
    prepared = ring.prepare(WHO)
    if step == "next key made":  # the crash came before the public half was published
        ring.public_file.write_bytes(content)
    if step == "activated":
        ring.activate(WHO)
    else:
        ring.prepare(WHO)
        ring.activate(WHO)
    assert ring.state().signing == prepared
    assert set(ring.state().trusted) == {before, prepared}
    assert signer(ring).sign(unsigned()).key_id == prepared


def test_a_revoked_key_is_refused_at_once_also_where_it_was_verified_before(ring: KeyRing) -> None:
    executor, guardrail = KeyFile(ring.public_file), signer(ring)
    old = guardrail.sign(unsigned())
    assert is_believed(executor.verifier(), old)
    ring.prepare(WHO)
    ring.activate(WHO)
    ring.revoke(old.key_id, "stolen", WHO)
    with pytest.raises(NotAttestedError, match="revoked"):
        executor.verifier().verify(old, kind="revision", digest=DIGEST, now=datetime.now(UTC))
    with pytest.raises(NotAttestedError, match="revoked"):
        guardrail.check(old, kind="revision", digest=DIGEST)


def test_a_revoked_key_that_is_put_back_into_the_file_is_still_refused(ring: KeyRing) -> None:
    pem, old = ring.public_file.read_bytes(), signer(ring).sign(unsigned())
    ring.prepare(WHO)
    ring.activate(WHO)
    ring.revoke(old.key_id, "stolen", WHO)
    ring.public_file.write_bytes(ring.public_file.read_bytes() + pem)
    assert not is_believed(Verifier.from_file(ring.public_file), old)


def test_the_key_that_signs_is_rotated_before_it_is_revoked(ring: KeyRing) -> None:
    with pytest.raises(InvalidInputError, match="rotate first"):
        ring.revoke(ring.state().signing, "stolen", WHO)
    with pytest.raises(InvalidInputError, match="no key"):
        ring.revoke("0" * 16, "stolen", WHO)
    prepared = ring.prepare(WHO)
    ring.revoke(prepared, "seen by others", WHO)
    assert ring.state().prepared == "" and prepared not in ring.state().trusted


def test_nothing_is_signed_with_a_key_that_nobody_trusts(ring: KeyRing) -> None:
    guardrail = signer(ring)
    own = ring.state().signing
    ring.public_file.write_bytes(ring.public_file.read_bytes() + f"\nrevoked: {own} by hand\n".encode())
    with pytest.raises(UnavailableError, match="refuse every run"):
        guardrail.sign(unsigned())


def test_authors_and_reasons_cannot_forge_lines_of_the_file(ring: KeyRing) -> None:
    first = ring.state().signing
    ring.prepare(WHO)
    ring.activate(WHO)
    ring.revoke(first, "stolen\nrevoked: 1111111111111111", WHO)
    assert ring.state().revoked == (first,)


def test_a_revocation_that_names_no_key_makes_the_file_unusable(ring: KeyRing) -> None:
    ring.public_file.write_bytes(ring.public_file.read_bytes() + b"revoked: everything\n")
    with pytest.raises(ConfigurationError, match="no key id"):
        Verifier.from_file(ring.public_file)


def test_private_keys_are_open_to_nobody_else(ring: KeyRing) -> None:
    ring.prepare(WHO)
    assert stat.S_IMODE(ring.next_file.stat().st_mode) == 0o600
    ring.activate(WHO)
    assert stat.S_IMODE(ring.private_file.stat().st_mode) == 0o600


def test_a_rotation_without_its_files_names_the_one_that_is_missing(ring: KeyRing, tmp_path: Path) -> None:
    ring.public_file.unlink()
    with pytest.raises(ConfigurationError, match=r"guardrail\.pub cannot be read: No such file.*evoline keys create"):
        ring.prepare(WHO)
    with pytest.raises(ConfigurationError, match=r"nowhere cannot be used: No such file.*evoline keys create"):
        KeyRing(tmp_path / "nowhere").prepare(WHO)


def test_without_keys_it_says_how_to_make_them(tmp_path: Path) -> None:
    with pytest.raises(NotFoundError, match="evoline keys create"):
        KeyRing(tmp_path).state()
