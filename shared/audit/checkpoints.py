"""Signed checkpoints of the audit log: who keeps one notices every later change of what it covers.

A checkpoint is a signed note (C2SP signed-note and tlog-checkpoint), so that other tools read it too: origin, number of entries and
root as three lines, the time as an extension line, an empty line, and the signature over everything before that line. The
origin is a name of its own for what is signed, so that the same key's signature under a run's attestation never means a
checkpoint, nor the other way round.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import re
from collections.abc import Mapping
from dataclasses import dataclass

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from shared.attestation import key_id
from shared.errors import InvalidInputError, NotAttestedError

ORIGIN = "evoline.audit.checkpoint.v1"
_NOTE = re.compile(
    rf"(?P<text>{re.escape(ORIGIN)}\n(?P<size>0|[1-9][0-9]{{0,15}})\n(?P<root>[A-Za-z0-9+/]{{43}}=)\ntime (?P<at>\S{{1,64}})\n)\n"
    rf"— {re.escape(ORIGIN)} (?P<signature>[A-Za-z0-9+/=]{{1,200}})\n"
)
_ED25519 = b"\x01"
"""Signature type of C2SP signed-note."""


@dataclass(frozen=True)
class TreeHead:
    """`root`: hex. `at`: RFC 3339."""

    size: int
    root: str
    at: str = ""


@dataclass(frozen=True)
class Checkpoint:
    """`note` is what was signed, with the signature; `head` is what it says. Only `opened` makes one from outside."""

    head: TreeHead
    note: str
    key_id: str


def note_text(head: TreeHead) -> str:
    """What the signature covers."""
    return f"{ORIGIN}\n{head.size}\n{base64.b64encode(bytes.fromhex(head.root)).decode()}\ntime {head.at}\n"


def signed(private_key: Ed25519PrivateKey, head: TreeHead) -> Checkpoint:
    text, public = note_text(head), private_key.public_key()
    signature = base64.b64encode(_note_key(public) + private_key.sign(text.encode())).decode()
    return Checkpoint(head, f"{text}\n— {ORIGIN} {signature}\n", key_id(public))


def opened(note: str, keys: Mapping[str, Ed25519PublicKey]) -> Checkpoint:
    """The checkpoint of a note that one of `keys` (by key id) signed.

    Raises `InvalidInputError` for what is no such note, `NotAttestedError` where none of the keys signed it."""
    found = _NOTE.fullmatch(note)
    if found is None:
        raise InvalidInputError("this is no checkpoint of the audit log")
    try:
        signature = base64.b64decode(found["signature"], validate=True)
    except binascii.Error as error:
        raise InvalidInputError("the checkpoint's signature is no base64") from error
    root = base64.b64decode(found["root"]).hex()
    head = TreeHead(int(found["size"]), root, found["at"])
    for name, key in keys.items():
        if signature[:4] == _note_key(key) and _is_genuine(key, signature[4:], found["text"]):
            return Checkpoint(head, note, name)
    raise NotAttestedError(
        f"the checkpoint over {head.size} entries of {head.at} is not signed by any trusted key ({', '.join(keys) or 'none given'})"
    )


def _is_genuine(key: Ed25519PublicKey, signature: bytes, text: str) -> bool:
    try:
        key.verify(signature, text.encode())
    except InvalidSignature:
        return False
    return True


def _note_key(key: Ed25519PublicKey) -> bytes:
    raw = key.public_bytes(Encoding.Raw, PublicFormat.Raw)
    return hashlib.sha256(ORIGIN.encode() + b"\n" + _ED25519 + raw).digest()[:4]
