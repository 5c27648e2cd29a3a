"""Blobs in the broker's object store."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import io
from datetime import UTC, datetime
from typing import cast

import nats.errors
import nats.js.errors
from nats.js.api import ObjectStoreConfig, StorageType
from nats.js.object_store import ObjectStore

from shared.errors import NotFoundError, UnavailableError
from shared.large_values import ValueReference, check_size, damaged
from shared.messaging.bus import Bus
from shared.messaging.denials import DeniedError

BUCKET = "values"
KEPT_SECONDS = 30 * 86_400.0
"""As long as the facts that refer to them."""
PATIENCE_SECONDS = 60.0
"""For one value: 64 MiB are 512 chunks."""


def bucket_config(replicas: int) -> ObjectStoreConfig:
    about = "values above 256 KiB that runs take, give and keep"
    return ObjectStoreConfig(description=about, ttl=KEPT_SECONDS, storage=StorageType.FILE, replicas=replicas)


class ObjectStoreBlobs:
    """The bucket is made with the streams."""

    def __init__(self, bus: Bus) -> None:
        self._bus = bus
        self._bucket: ObjectStore | None = None

    async def store(self, body: bytes) -> ValueReference:
        reference = ValueReference(sha256=hashlib.sha256(body).hexdigest(), bytes=check_size(len(body)))
        try:
            async with asyncio.timeout(PATIENCE_SECONDS):
                bucket = await self._opened()
                if not await _holds(bucket, reference):
                    await self._put(bucket, reference, body)
        except (nats.errors.Error, nats.js.errors.Error, TimeoutError, OSError) as error:
            raise UnavailableError(f"the object store did not take a value of {len(body):,} bytes: {error!r}") from error
        return reference

    async def load(self, reference: ValueReference) -> bytes:
        try:
            async with asyncio.timeout(PATIENCE_SECONDS):
                return await _read(await self._opened(), reference)
        except nats.js.errors.NotFoundError as error:
            raise NotFoundError(f"value {reference.sha256[:12]} is not in the object store; values are kept for 30 days") from error
        except (nats.errors.Error, nats.js.errors.Error, TimeoutError, OSError) as error:
            raise UnavailableError(f"the object store did not give value {reference.sha256[:12]}: {error!r}") from error

    async def _put(self, bucket: ObjectStore, reference: ValueReference, body: bytes) -> None:
        """The store's client ends by purging what it replaces, which only the administrator may; that expires by itself."""
        purge = f"$JS.API.STREAM.PURGE.OBJ_{BUCKET}"
        try:
            with self._bus.denials.watched(purge, f"$JS.API.STREAM.MSG.GET.OBJ_{BUCKET}"):
                await bucket.put(reference.sha256, body)
        except DeniedError as error:
            if purge not in str(error) or not await _holds(bucket, reference):
                raise

    async def _opened(self) -> ObjectStore:
        if self._bucket is None:
            with self._bus.denials.watched(f"$JS.API.STREAM.INFO.OBJ_{BUCKET}"):
                try:
                    self._bucket = await self._bus.jetstream.object_store(BUCKET)
                except nats.js.errors.NotFoundError as error:
                    raise UnavailableError(f"the bus has no object store {BUCKET}: run `evoline bus apply`") from error
        return self._bucket


async def _read(bucket: ObjectStore, reference: ValueReference) -> bytes:
    """Nothing is read of what has another size than the reference says: it may not fit into memory."""
    info = await bucket.get_info(reference.sha256)
    body = io.BytesIO()
    try:
        if info.size == reference.bytes:
            # Without a place to write to, every chunk would copy all that came before.
            await bucket.get(reference.sha256, writeinto=cast("io.BufferedIOBase", body))
    except nats.js.errors.DigestMismatchError as error:
        raise damaged(reference) from error
    if info.size != reference.bytes or hashlib.sha256(body.getbuffer()).hexdigest() != reference.sha256:
        raise damaged(reference)
    return body.getvalue()


async def _holds(bucket: ObjectStore, reference: ValueReference) -> bool:
    """Whether it is there, as far as its description says, and for long enough still."""
    try:
        info = await bucket.get_info(reference.sha256)
    except nats.js.errors.NotFoundError:
        return False
    age = datetime.now(UTC) - datetime.fromisoformat(info.mtime or "1970-01-01T00:00:00+00:00")
    is_same = (info.size, info.digest) == (reference.bytes, _digest(reference))
    return is_same and age.total_seconds() < KEPT_SECONDS / 2


def _digest(reference: ValueReference) -> str:
    """As the object store writes it."""
    return f"SHA-256={base64.urlsafe_b64encode(bytes.fromhex(reference.sha256)).decode()}"
