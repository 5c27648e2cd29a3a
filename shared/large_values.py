"""Values that no message should carry, kept elsewhere by the hash of their JSON.

In a message `{"evoline:value": {"sha256": "...", "bytes": 1234567}}` stands for the value: as a member of a run's inputs or
outputs, or as all of its outputs. Whoever sends packs, whoever receives unpacks; nobody else need know."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, Protocol

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from shared.errors import InvalidInputError, LimitReachedError

INLINE_BYTES = 256 * 1024
"""What a message or a journal line carries itself, as JSON."""
MAX_VALUE_BYTES = 64 * 1024 * 1024
MARK = "evoline:value"


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
        """Raises `NotFoundError` where nothing is stored under this hash any more, `UnavailableError`."""
        ...


class LargeValues:
    def __init__(self, blobs: Blobs) -> None:
        self._blobs = blobs

    async def pack(self, value: Any) -> Any:
        """The value with its largest members, or all of it, replaced by references until it is small enough for a message.

        Raises `LimitReachedError` for a member above 64 MiB, `InvalidInputError` for what is not JSON."""
        size = len(as_json(value))
        if size <= INLINE_BYTES:
            return value
        if not isinstance(value, Mapping):
            return (await self._blobs.store(as_json(value))).written()
        packed = dict(value)
        sizes = {name: len(as_json(member)) for name, member in value.items()}
        for name in sorted(sizes, key=lambda name: -sizes[name]):
            if size <= INLINE_BYTES:
                break
            packed[name] = (await self._blobs.store(as_json(value[name]))).written()
            size += len(as_json(packed[name])) - sizes[name]
        return packed

    async def unpack(self, value: Any) -> Any:
        """The value as it was before `pack`.

        Raises `NotFoundError` for a reference to nothing, `InvalidInputError` for a bad one."""
        if not isinstance(value, Mapping):
            return value
        if (reference := reference_in(value)) is not None:
            return json.loads(await self._blobs.load(reference))
        found = {name: reference for name, member in value.items() if (reference := reference_in(member)) is not None}
        if not found:
            return value
        return {**value, **{name: json.loads(await self._blobs.load(reference)) for name, reference in found.items()}}


def as_json(value: Any) -> bytes:
    try:
        return json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode()
    except (TypeError, ValueError, RecursionError) as error:
        raise InvalidInputError(f"not a JSON value: {error}") from error


def check_size(size: int) -> int:
    if size > MAX_VALUE_BYTES:
        raise LimitReachedError("value_bytes", f"a value takes {size:,} bytes as JSON, {MAX_VALUE_BYTES:,} is the most")
    return size


def reference_in(value: Any) -> ValueReference | None:
    """None for what does not look like a reference."""
    if not isinstance(value, Mapping) or value.keys() != {MARK}:
        return None
    try:
        return ValueReference.model_validate(value[MARK])
    except ValidationError as error:
        raise InvalidInputError(f"not a reference to a value: {error.errors()[0]['msg']}") from error
