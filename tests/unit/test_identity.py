"""Signatures under messages, and the registry of who may give them."""

from __future__ import annotations

import base64
import threading
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.attestation import sign as sign_attestation
from shared.errors import ConfigurationError, InvalidInputError, NotFoundError, UnavailableError
from shared.events.values import Attestation
from shared.identity import Registry, RegistryFile, add_identity, create_key, read_registry, revoke_identity, signer_of_file
from shared.identity.registry import parse, render
from shared.identity.signing import (
    CLOCK_LEAD,
    FRESH,
    SIGNATURE,
    SIGNED_AT,
    SIGNER,
    MessageSigner,
    Signature,
    check_signature,
    signed_bytes,
    verify_proof,
)
from tests.fakes.people import identity, key_of, usual_registry

NOW = datetime(2026, 11, 26, 12, 0, tzinfo=UTC)
SUBJECT, ID, BODY = "cmd.guardrail.decide", "m-1", b'{"change_id":"c1"}'


@dataclass
class Sent:
    """A message as the broker stored it."""

    headers: dict[str, str]
    subject: str = SUBJECT
    message_id: str = ID
    body: bytes = BODY
    stored_at: datetime = NOW

    def checked(self, registry: Registry | None = None) -> Signature:
        return check_signature(
            self.headers,
            subject=self.subject,
            message_id=self.message_id,
            body=self.body,
            stored_at=self.stored_at,
            registry=registry or usual_registry(),
        )


def sent(name: str = "alice", at: datetime = NOW) -> Sent:
    return Sent(MessageSigner(name, key_of(name)).sign(SUBJECT, ID, BODY, at))


def test_a_signed_message_names_its_sender_and_can_be_proved_later() -> None:
    found = sent().checked()
    assert (found.signer, found.fault) == ("alice", "")
    assert found.proof is not None and found.identity is not None
    assert verify_proof(found.identity.key, found.proof)
    assert not verify_proof(key_of("bob").public_key(), found.proof)


def test_an_unsigned_message_names_nobody() -> None:
    found = Sent({}).checked()
    assert (found.signer, found.identity, found.fault) == ("", None, "it is not signed")


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"subject": "cmd.guardrail.rollback"}, "not one by alice under this subject"),
        ({"message_id": "m-2"}, "not one by alice"),
        ({"body": b'{"change_id":"c2"}'}, "not one by alice"),
        ({"stored_at": NOW + FRESH + timedelta(seconds=1)}, "send it again"),
        ({"stored_at": NOW - CLOCK_LEAD - timedelta(seconds=1)}, "check the clocks"),
    ],
)
def test_a_signature_holds_for_exactly_one_message_at_its_time(change: dict[str, object], said: str) -> None:
    message = sent()
    for name, value in change.items():
        setattr(message, name, value)
    found = message.checked()
    assert found.signer == "" and said in found.fault


@pytest.mark.parametrize(
    ("header", "value", "said"),
    [
        (SIGNER, "bob", "not one by bob"),
        (SIGNER, "mallory", "identities.yaml does not know"),
        (SIGNER, "", "does not know"),
        (SIGNATURE, "", "not one by alice"),
        (SIGNATURE, "no base64!", "not one by alice"),
        (SIGNED_AT, "yesterday", "not one by alice"),
        (SIGNED_AT, (NOW + timedelta(seconds=1)).isoformat(), "not one by alice"),
    ],
)
def test_a_forged_header_names_nobody(header: str, value: str, said: str) -> None:
    message = sent()
    message.headers[header] = value
    found = message.checked()
    assert found.signer == "" and said in found.fault


@pytest.mark.parametrize("moment", ["tomorrow", "2026-11-26T12:00:00"])
def test_a_time_that_is_none_is_a_fault_even_under_a_good_signature(moment: str) -> None:
    message = sent()
    proof = message.checked().proof
    assert proof is not None
    odd = proof.model_copy(update={"signed_at": moment})
    signature = base64.b64encode(key_of("alice").sign(signed_bytes(odd))).decode()
    message.headers = {SIGNER: "alice", SIGNED_AT: moment, SIGNATURE: signature}
    assert message.checked().signer == "" and SIGNED_AT in message.checked().fault


def test_a_revoked_identity_signs_nothing() -> None:
    revoked = identity("alice", "reviewer").model_copy(update={"revoked": NOW.isoformat()})
    found = sent().checked(Registry(identities=(revoked,)))
    assert found.signer == "" and "revoked" in found.fault


def test_a_signature_waits_with_its_message_however_long_the_queue_is() -> None:
    """What counts is when the broker stored it, not when somebody gets to it."""
    assert sent(at=NOW - timedelta(minutes=9)).checked().signer == "alice"


def test_a_signature_for_an_attestation_is_none_for_a_message() -> None:
    attestation = Attestation.model_validate(
        {"kind": "revision", "digest": "d" * 64, "scope": "p", "domain": "d", "policy_revision": "r"}
        | {"issued_at": NOW.isoformat(), "expires_at": NOW.isoformat(), "key_id": ""}
    )
    message = sent()
    message.headers[SIGNATURE] = sign_attestation(key_of("alice"), attestation).signature
    assert message.checked().signer == ""


@given(st.binary(max_size=200), st.text(max_size=50), st.text(max_size=50), st.text(max_size=50))
def test_whatever_stands_in_the_headers_never_raises(body: bytes, signer: str, signature: str, moment: str) -> None:
    found = Sent({SIGNER: signer, SIGNATURE: signature, SIGNED_AT: moment}, body=body).checked()
    assert found.signer == "" and found.fault


# The registry.


def test_the_registry_reads_back_as_it_was_written() -> None:
    registry = usual_registry()
    assert parse(render(registry), "x") == registry


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("identities: [", "is no YAML"),
        ("identities: [{name: a, public_key: xyz}]", "no Ed25519 public key"),
        ("identities: [{name: 'a b', public_key: x}]", "identities.0.name"),
        ("people: []", "people"),
        ("[1]", "valid dictionary"),
    ],
)
def test_a_wrong_registry_names_what_is_wrong(text: str, said: str) -> None:
    with pytest.raises(InvalidInputError, match=said) as caught:
        parse(text, "identities.yaml")
    assert "identities.yaml" in str(caught.value)


def test_names_that_differ_only_in_case_are_one() -> None:
    text = render(Registry(identities=(identity("alice"),))) + render(Registry(identities=(identity("bob"),))).split("\n", 2)[2]
    doubled = text.replace("name: bob", "name: ALICE")
    with pytest.raises(InvalidInputError, match="more than once"):
        parse(doubled, "identities.yaml")


def test_a_registry_that_cannot_be_read_makes_its_readers_wait(tmp_path: Path) -> None:
    path = tmp_path / "identities.yaml"
    assert RegistryFile(path).current() == Registry()
    path.write_text("identities: [")
    with pytest.raises(UnavailableError, match="nobody can be verified"):
        RegistryFile(path).current()


def test_the_registry_is_read_again_when_it_changes(tmp_path: Path) -> None:
    path, reader = tmp_path / "identities.yaml", RegistryFile(tmp_path / "identities.yaml")
    assert add_identity(path, identity("alice", "reviewer"))
    assert sent().checked(reader.current()).signer == "alice"
    assert revoke_identity(path, "Alice", NOW) and not revoke_identity(path, "alice", NOW)
    assert "revoked" in sent().checked(reader.current()).fault


def test_adding_again_changes_roles_and_nothing_else(tmp_path: Path) -> None:
    path = tmp_path / "identities.yaml"
    assert add_identity(path, identity("alice", "reviewer"))
    assert not add_identity(path, identity("alice", "reviewer"))
    assert add_identity(path, identity("alice", "admin"))
    (only,) = read_registry(path).identities
    assert only.roles == ("admin",)


@pytest.mark.parametrize(
    ("added", "said"),
    [
        (identity("alice2", key=key_of("alice")), "key of alice already"),
        (identity("Alice", key=key_of("other")), "another key or kind"),
        (identity("alice", kind="service"), "another key or kind"),
        (identity("gone"), "revoked"),
    ],
    ids=["second name", "second key", "other kind", "revoked name"],
)
def test_nobody_gets_a_second_name_or_a_former_one(tmp_path: Path, added: object, said: str) -> None:
    path = tmp_path / "identities.yaml"
    add_identity(path, identity("alice"))
    add_identity(path, identity("gone"))
    revoke_identity(path, "gone", NOW)
    with pytest.raises(InvalidInputError, match=said):
        add_identity(path, added)  # type: ignore[arg-type]
    with pytest.raises(NotFoundError, match="people list"):
        revoke_identity(path, "nobody", NOW)


def test_many_who_add_at_once_lose_nobody(tmp_path: Path) -> None:
    path = tmp_path / "identities.yaml"
    threads = [threading.Thread(target=add_identity, args=(path, identity(f"p{number}"))) for number in range(20)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(read_registry(path).identities) == 20


def test_a_private_key_is_made_once_for_its_owner_only(tmp_path: Path) -> None:
    path = create_key(tmp_path / "keys", "alice")
    content = path.read_bytes()
    assert create_key(tmp_path / "keys", "alice").read_bytes() == content
    assert path.stat().st_mode & 0o777 == 0o600
    assert signer_of_file(path).name == "alice"
    path.chmod(0o640)
    with pytest.raises(ConfigurationError, match="open to others"):
        signer_of_file(path)
