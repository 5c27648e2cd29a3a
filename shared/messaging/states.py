"""Small documents that processes change together by compare-and-set, in the broker's key-value store."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Callable

import nats.errors
import nats.js.errors
from nats.aio.msg import Msg
from nats.js import JetStreamContext
from nats.js.api import KeyValueConfig, StorageType
from nats.js.kv import KeyValue

from shared.errors import ConfigurationError, UnavailableError
from shared.messaging.bus import Bus

BUCKET = "limits"
KEPT_SECONDS = 2 * 86_400.0
"""Longer than any provider's pause; a document that nobody changed for so long says nothing any more."""
PATIENCE_SECONDS = 2.0
_FAULTS = (nats.errors.Error, nats.js.errors.Error, TimeoutError, OSError)


def bucket_config(replicas: int) -> KeyValueConfig:
    return KeyValueConfig(
        bucket=BUCKET,
        description="what executors tell each other about providers' limits",
        history=1,
        ttl=KEPT_SECONDS,
        storage=StorageType.FILE,
        replicas=replicas,
        # The answer to a direct read is published wherever its reader asks, as if by the broker: nobody gets to do that.
        direct=False,
    )


class BucketStates:
    """`open` before use."""

    def __init__(self, bus: Bus) -> None:
        self._bus = bus
        self._bucket: KeyValue | None = None
        self._calls: dict[str, list[Callable[[bytes], None]]] = defaultdict(list)

    async def open(self) -> None:
        """Raises `ConfigurationError` where the bucket is not there."""
        try:
            await self._opened()
        except UnavailableError as error:
            raise ConfigurationError(f"the bus has no bucket {BUCKET}: run `evoline bus apply` ({error})") from error
        await self._bus.client.subscribe(f"$KV.{BUCKET}.>", cb=self._on_message)

    async def read(self, key: str) -> tuple[bytes, int]:
        """Body and revision; revision 0 and no body where there is none."""
        try:
            async with asyncio.timeout(PATIENCE_SECONDS):
                entry = await (await self._opened()).get(key)
        except nats.js.errors.KeyNotFoundError as error:
            return b"", (error.entry.revision or 0) if error.entry else 0  # deleted by hand: its mark has a revision
        except _FAULTS as error:
            raise UnavailableError(f"the broker did not give {key}: {error!r}") from error
        return entry.value or b"", entry.revision or 0

    async def write(self, key: str, body: bytes, revision: int) -> int | None:
        """The new revision; None where another one was written since `revision`."""
        try:
            async with asyncio.timeout(PATIENCE_SECONDS):
                return await (await self._opened()).update(key, body, last=revision)
        except nats.js.errors.KeyWrongLastSequenceError:
            return None
        except _FAULTS as error:
            raise UnavailableError(f"the broker did not take {key}: {error!r}") from error

    def on_change(self, key: str, call: Callable[[bytes], None]) -> None:
        self._calls[f"$KV.{BUCKET}.{key}"].append(call)

    async def _on_message(self, message: Msg) -> None:
        for call in self._calls.get(message.subject, ()):
            call(message.data)

    async def _opened(self) -> KeyValue:
        if self._bucket is None:
            jetstream: JetStreamContext = self._bus.jetstream
            try:
                with self._bus.denials.watched(f"$JS.API.STREAM.INFO.KV_{BUCKET}"):
                    self._bucket = await jetstream.key_value(BUCKET)
            except _FAULTS as error:
                raise UnavailableError(f"no bucket {BUCKET}: {error!r}") from error
        return self._bucket
