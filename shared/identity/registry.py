"""The registry of identities: `identities.yaml`, written by whoever owns the file, read by everybody who verifies."""

from __future__ import annotations

import base64
import binascii
import hashlib
from typing import Any, Literal

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

from shared.attestation import key_id
from shared.errors import InvalidInputError, Problem

Kind = Literal["service", "person"]
HEAD = "# Who may sign messages. Written by `evoline people`; read again by every service when it changes.\n"


class Identity(BaseModel):
    """`public_key`: the 32 raw bytes of an Ed25519 key in base64. A revoked name stays, so that nobody gets it again."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str = Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]{0,63}$")
    kind: Kind = "person"
    roles: tuple[str, ...] = ()
    public_key: str
    revoked: str = ""
    """RFC 3339 time of the revocation; empty while the identity is good."""

    @field_validator("public_key")
    @classmethod
    def _is_a_key(cls, text: str) -> str:
        _key_of(text)
        return text

    @property
    def key(self) -> Ed25519PublicKey:
        return _key_of(self.public_key)

    @property
    def key_id(self) -> str:
        """First 16 hex digits of SHA-256 of the raw key: two names with one key are one signer."""
        return key_id(self.key)


class Registry(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")

    identities: tuple[Identity, ...] = ()

    @model_validator(mode="after")
    def _names_are_unique(self) -> Registry:
        names = [each.name.casefold() for each in self.identities]
        doubled = sorted({name for name in names if names.count(name) > 1})
        if doubled:
            raise ValueError(f"these names stand more than once (upper and lower case are alike): {', '.join(doubled)}")
        return self

    def find(self, name: str) -> Identity | None:
        """Names are compared without regard to case, so that nobody hides behind a capital letter."""
        wanted = name.casefold()
        return next((each for each in self.identities if each.name.casefold() == wanted), None)

    @property
    def sha256(self) -> str:
        return hashlib.sha256(render(self).encode()).hexdigest()


def public_text(key: Ed25519PublicKey) -> str:
    return base64.b64encode(key.public_bytes(Encoding.Raw, PublicFormat.Raw)).decode()


def parse(text: str, source: str) -> Registry:
    """Raises InvalidInputError naming every entry that is wrong."""
    import yaml  # here, because most who send messages never read the registry

    try:
        content: Any = yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise InvalidInputError(Problem(file=source, reason=f"is no YAML: {' '.join(str(error).split())}")) from error
    try:
        return Registry.model_validate(content or {})
    except ValidationError as error:
        faults = error.errors(include_url=False, include_input=False, include_context=False)
        raise InvalidInputError(
            [Problem(file=source, path=".".join(map(str, each["loc"])), reason=str(each["msg"])) for each in faults]
        ) from error


def render(registry: Registry) -> str:
    import yaml

    return HEAD + yaml.safe_dump(registry.model_dump(mode="json"), sort_keys=False, allow_unicode=True)


def _key_of(text: str) -> Ed25519PublicKey:
    try:
        return Ed25519PublicKey.from_public_bytes(base64.b64decode(text, validate=True))
    except (ValueError, binascii.Error) as error:
        raise ValueError("is no Ed25519 public key: 32 raw bytes in base64") from error
