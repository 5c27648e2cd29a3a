from __future__ import annotations

import base64
import hashlib

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from shared.attestation import key_id
from shared.audit.checkpoints import ORIGIN, TreeHead, opened, signed
from shared.errors import InvalidInputError, NotAttestedError

KEY = Ed25519PrivateKey.from_private_bytes(bytes(range(32)))
OTHER = Ed25519PrivateKey.from_private_bytes(bytes(32))
KEYS = {key_id(KEY.public_key()): KEY.public_key()}
HEAD = TreeHead(12, "ab" * 32, "2026-11-26T12:00:00+00:00")


def test_a_checkpoint_opens_with_the_key_that_signed_it() -> None:
    checkpoint = signed(KEY, HEAD)
    assert opened(checkpoint.note, KEYS) == checkpoint
    with pytest.raises(NotAttestedError, match="12 entries"):
        opened(signed(OTHER, HEAD).note, KEYS)


def test_the_note_is_one_that_other_tools_verify() -> None:
    """C2SP signed-note, computed here from its text."""
    text, _, signature = signed(KEY, HEAD).note.rpartition("\n— ")
    assert text.split("\n")[:3] == [ORIGIN, "12", base64.b64encode(bytes.fromhex(HEAD.root)).decode()]
    name, encoded = signature.removesuffix("\n").split(" ")
    raw = KEY.public_key().public_bytes(Encoding.Raw, PublicFormat.Raw)
    blob = base64.b64decode(encoded)
    assert (name, blob[:4]) == (ORIGIN, hashlib.sha256(name.encode() + b"\n\x01" + raw).digest()[:4])
    KEY.public_key().verify(blob[4:], text.encode())


@pytest.mark.parametrize(
    ("old", "new"),
    [("\n12\n", "\n13\n"), ("T12:", "T13:"), (ORIGIN, "evoline.attestation.v1"), ("\n12\n", "\n012\n"), ("\n\n", "\nmore\n\n")],
)
def test_a_changed_note_is_refused(old: str, new: str) -> None:
    note = signed(KEY, HEAD).note
    with pytest.raises((InvalidInputError, NotAttestedError)):
        opened(note.replace(old, new, 1), KEYS)


@pytest.mark.parametrize("text", ["", "\n", "x" * 100_000, ORIGIN, signed(KEY, HEAD).note * 2, signed(KEY, HEAD).note[:-1]])
def test_what_is_no_note_is_refused(text: str) -> None:
    with pytest.raises(InvalidInputError):
        opened(text, KEYS)
