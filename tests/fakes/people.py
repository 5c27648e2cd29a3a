"""People and services with keys: a registry in memory, and messages signed as the bus signs them."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from shared.attestation import KeyPaths, create_key_pair
from shared.events.changes import ProposeChange
from shared.events.message import Message
from shared.identity import Identity, MessageSigner, Registry, Signature, add_identity
from shared.identity.files import KEY_SUFFIX
from shared.identity.registry import public_text
from shared.identity.signing import check_signature
from shared.messaging import codec
from shared.messaging.bus import Bus
from shared.settings import SharedSettings

SERVICES = ("generator", "executor", "analytics", "learner", "evolution", "guardrail")
PEOPLE = ("alice", "bob", "carol", "dora", "grace")
"""All with every role."""
ALL_ROLES = ("reviewer", "operator", "admin")


def key_of(name: str) -> Ed25519PrivateKey:
    """The same key for the same name, so that benches that did the same tell the same."""
    return Ed25519PrivateKey.from_private_bytes(hashlib.sha256(name.encode()).digest())


def identity(name: str, *roles: str, kind: str = "person", key: Ed25519PrivateKey | None = None) -> Identity:
    public = public_text((key or key_of(name)).public_key())
    return Identity.model_validate({"name": name, "kind": kind, "roles": roles, "public_key": public})


def usual_registry() -> Registry:
    services = (identity(name, kind="service") for name in SERVICES)
    return Registry(identities=(*services, *(identity(name, *ALL_ROLES) for name in PEOPLE)))


class InMemoryIdentities:
    def __init__(self, registry: Registry | None = None) -> None:
        self.registry = registry or usual_registry()

    def current(self) -> Registry:
        return self.registry

    def add(self, added: Identity) -> None:
        others = tuple(each for each in self.registry.identities if each.name != added.name)
        self.registry = Registry(identities=(*others, added))

    def revoke(self, name: str) -> None:
        found = self.registry.find(name)
        assert found is not None, name
        self.add(found.model_copy(update={"revoked": datetime.now(UTC).isoformat()}))


def signature_of(
    registry: Registry, name: str, message: Message, message_id: str, *, key: Ed25519PrivateKey | None = None
) -> Signature:
    """What a consumer learns about `message` signed by `name`."""
    body, now, known = codec.encode(message), datetime.now(UTC), registry.find(name)
    fields = MessageSigner(name, key or key_of(known.name if known else name)).sign(message.subject, message_id, body, now)
    return check_signature(fields, subject=message.subject, message_id=message_id, body=body, stored_at=now, registry=registry)


def own(bus: Bus, command: Message) -> Bus:
    """The bus of whom the command says it is from, where that is one of the usual identities."""
    name = str(getattr(command, "reviewer", "") or getattr(command, "author", ""))
    return bus.signed_by(signer(name) if usual_registry().find(name) else None)


def signed_proposal(command: ProposeChange) -> Signature:
    """As its author would sign it, who is one of the usual ones."""
    return signature_of(usual_registry(), command.author, command, f"propose-{command.change_id}")


def written_registry(folder: Path, registry: Registry | None = None) -> Path:
    """`identities.yaml` of these identities."""
    path = folder / "identities.yaml"
    for each in (registry or usual_registry()).identities:
        add_identity(path, each)
    return path


def key_file(folder: Path, name: str) -> Path:
    """The private key of `name` as a file."""
    path = folder / f"{name}{KEY_SUFFIX}"
    folder.mkdir(parents=True, exist_ok=True)
    path.touch(mode=0o600)
    path.write_bytes(_pem(key_of(name)))
    return path


def signer(name: str) -> MessageSigner:
    return MessageSigner(name, key_of(name))


def _pem(key: Ed25519PrivateKey) -> bytes:
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())


def services_with_keys(folder: Path, **common: Any) -> tuple[KeyPaths, Callable[[str], SharedSettings]]:
    """(the guardrail's keys, the settings of a service by its name): all trust these keys, each signs with its own."""
    keys = create_key_pair(folder)
    fields: dict[str, Any] = {
        "pipelines_dir": Path(__file__).parents[2] / "pipelines",
        "guardrail_public_key_file": keys.public,
        "identities_file": written_registry(folder),
    }
    shared = SharedSettings(**fields, **common)
    return keys, lambda service: shared.model_copy(update={"identity_key_file": key_file(folder / "identities", service)})
