"""Values that no message should carry, kept elsewhere by the hash of their JSON.

In a message `{"evoline:value": {"sha256": "...", "bytes": 1234567}}` stands for the value: as a member of a run's inputs or
outputs, or as all of them. Whoever sends packs, whoever receives unpacks; nobody else need know."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, Protocol

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from shared.errors import InvalidInputError, LimitReachedError, PermanentError

INLINE_BYTES = 256 * 1024
"""What a message or a journal line carries itself, as JSON."""
MAX_VALUE_BYTES = 64 * 1024 * 1024
MARK = "evoline:value"
REFERENCE_BYTES = 128
"""A reference takes a little less."""


class DamagedValueError(PermanentError):
    """What is stored under a hash is not what the hash names."""

    code = "damaged_value"


class ValueReference(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")

    sha256: str = Field(pattern=r"^[0-9a-f]{64}$")
    bytes: int = Field(ge=0, le=MAX_VALUE_BYTES)

    def written(self) -> dict[str, Any]:
        return {MARK: self.model_dump()}


class Blobs(Protocol):
    """Bytes by their hash."""

    async def store(self, body: bytes) -> ValueReference:
        """Doing it twice is doing it once. Raises `UnavailableError`, and `LimitReachedError` above 64 MiB."""
        ...

    async def load(self, reference: ValueReference) -> bytes:
        """Raises `NotFoundError` where nothing is stored under this hash any more, `DamagedValueError`, `UnavailableError`."""
        ...


class LargeValues:
    def __init__(self, blobs: Blobs) -> None:
        self._blobs = blobs

    async def pack(self, value: Any) -> Any:
        """The value with its largest members, or all of it, replaced by references until it is small enough for a message.

        A value that only looks like a reference is data, and comes back as it is: so pack once. Raises `LimitReachedError` for a
        member above 64 MiB, `InvalidInputError` for what is not JSON."""
        if not isinstance(value, Mapping):
            body = as_json(value)
            return value if len(body) <= INLINE_BYTES else await self._stored(body)
        if _looks_like_reference(value) or any(map(_looks_like_reference, value.values())):
            return await self._stored(as_json(value))
        bodies = {name: as_json(member) for name, member in value.items()}
        size = sum(len(as_json(name)) + len(body) + len(":,") for name, body in bodies.items()) + len("{}")
        return value if size <= INLINE_BYTES else await self._with_references(value, bodies, size)

    async def _with_references(self, value: Mapping[str, Any], bodies: Mapping[str, bytes], size: int) -> Any:
        """Many small members cannot be told by references, which are larger than they: then all of it becomes one."""
        chosen = []
        for name in sorted(bodies, key=lambda name: -len(bodies[name])):
            if size <= INLINE_BYTES or len(bodies[name]) <= REFERENCE_BYTES:
                break
            chosen.append(name)
            size += REFERENCE_BYTES - len(bodies[name])
        if size > INLINE_BYTES:
            return await self._stored(as_json(value))
        return {**value, **{name: await self._stored(bodies[name]) for name in chosen}}

    async def written(self, value: Any) -> bytes:
        """The value as JSON; of a reference what it refers to, unread."""
        reference = reference_in(value)
        return as_json(value) if reference is None else await self._blobs.load(reference)

    async def unpack(self, value: Any) -> Any:
        """The value as it was before `pack`.

        Raises `NotFoundError` for a reference to nothing, `DamagedValueError` for one to something else, `InvalidInputError` for a
        bad one."""
        if not isinstance(value, Mapping):
            return value
        if (reference := reference_in(value)) is not None:
            return from_json(await self._blobs.load(reference))
        found = {name: reference for name, member in value.items() if (reference := reference_in(member)) is not None}
        if not found:
            return value
        return {**value, **{name: from_json(await self._blobs.load(reference)) for name, reference in found.items()}}

    async def _stored(self, body: bytes) -> dict[str, Any]:
        return (await self._blobs.store(body)).written()


def as_json(value: Any) -> bytes:
    try:
        return json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode()
    except (TypeError, ValueError, RecursionError) as error:
        raise InvalidInputError(f"not a JSON value: {error}") from error


def from_json(body: bytes) -> Any:
    """Raises `InvalidInputError`: whoever sends a reference may have stored anything."""
    try:
        return json.loads(body)
    except (ValueError, RecursionError) as error:
        raise InvalidInputError(f"a stored value is not JSON: {error}") from error


def check_size(size: int) -> int:
    if size > MAX_VALUE_BYTES:
        raise LimitReachedError("value_bytes", f"a value takes {size:,} bytes as JSON, {MAX_VALUE_BYTES:,} is the most")
    return size


def damaged(reference: ValueReference) -> DamagedValueError:
    return DamagedValueError(f"value {reference.sha256[:12]} is damaged: what is stored is not what its hash names")


def _looks_like_reference(value: Any) -> bool:
    return isinstance(value, Mapping) and value.keys() == {MARK}


def reference_in(value: Any) -> ValueReference | None:
    """None for what does not look like a reference."""
    if not _looks_like_reference(value):
        return None
    try:
        return ValueReference.model_validate(value[MARK])
    except ValidationError as error:
        raise InvalidInputError(f"not a reference to a value: {error.errors()[0]['msg']}") from error
