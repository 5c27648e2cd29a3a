"""Reads a stream in order and without gaps: a lost connection, server or message restarts the ephemeral consumer where it was."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from datetime import datetime
from types import TracebackType
from typing import Self

import nats.errors
import nats.js.errors
from nats.aio.client import Client
from nats.aio.msg import Msg
from nats.aio.subscription import Subscription
from nats.js import api

from shared.errors import UnavailableError
from shared.messaging.connection import PUBLISH_SECONDS, BusClient
from shared.messaging.denials import Denials, DeniedError

HEARTBEAT_SECONDS = 1.0
MISSED_HEARTBEATS = 3
FORGOTTEN_SECONDS = 10.0
"""After which the server removes the consumer of a reader that went away; one that comes back makes another."""
READ_AHEAD = 1024
"""Messages that wait here for a slow reader; the rest waits in the client, up to its own bounds."""
_FAULTS = (nats.errors.Error, nats.js.errors.Error, TimeoutError, OSError)


class StreamReader:
    """`start`: None for what is stored from now on, a moment, or the first stream sequence wanted. `copy`: the stream to read
    `stream` from; it may lag, the position is that of `stream`.

    The position is fixed on entering, so a message stored after that is never missed."""

    def __init__(
        self, client: Client, stream: str, subjects: tuple[str, ...], start: datetime | int | None = None, *, copy: str = ""
    ) -> None:
        self._client = client
        self._jetstream = client.jetstream(timeout=PUBLISH_SECONDS)
        self._stream = stream
        self._read_from = copy or stream
        self._subjects = subjects
        self._start = start
        self._denials = client.denials if isinstance(client, BusClient) else Denials("")
        self._next_sequence: int | None = start if isinstance(start, int) else None
        self._expected_delivery = 1
        self._subscription: Subscription | None = None
        self._arrived: asyncio.Queue[Msg] = asyncio.Queue(READ_AHEAD)

    async def __aenter__(self) -> Self:
        try:
            with self._denials.watched(f"$JS.API.STREAM.INFO.{self._stream}", f"$JS.API.CONSUMER.CREATE.{self._read_from}"):
                if self._start is None:
                    info = await self._jetstream.stream_info(self._stream)
                    self._next_sequence = info.state.last_seq + 1
                await self._open()
        except DeniedError:
            await self._discard()
            raise
        except nats.js.errors.NotFoundError as error:
            raise UnavailableError(f"there is no stream {self._read_from}: run `evoline bus apply`") from error
        except _FAULTS as error:
            raise UnavailableError(f"stream {self._stream} cannot be read: {error}") from error
        return self

    async def __aexit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        await self._discard()

    async def messages(self) -> AsyncIterator[Msg]:
        """Endless. Raises UnavailableError once the client is closed for good."""
        while True:
            message = await self._next()
            if message is None:
                await self._reopen()
            elif message.reply:
                yield message

    async def _next(self) -> Msg | None:
        """The next message, a heartbeat (it has no reply subject), or None where something is missing."""
        try:
            # `next_msg` would lose a cancellation that comes in the same moment as a message.
            async with asyncio.timeout(HEARTBEAT_SECONDS * MISSED_HEARTBEATS):
                message = await self._arrived.get()
        except TimeoutError:
            return None
        if not message.reply:
            last = (message.headers or {}).get(api.Header.LAST_CONSUMER.value, "")
            return None if last.isdigit() and int(last) >= self._expected_delivery else message
        place = message.metadata.sequence
        if place.consumer != self._expected_delivery:
            return None
        self._expected_delivery += 1
        self._next_sequence = place.stream + 1
        return message

    async def _open(self) -> None:
        inbox, self._arrived = self._client.new_inbox(), asyncio.Queue(READ_AHEAD)
        self._subscription = await self._client.subscribe(inbox, cb=self._arrived.put)
        self._expected_delivery = 1
        await self._jetstream.add_consumer(self._read_from, self._config(inbox))

    def _config(self, inbox: str) -> api.ConsumerConfig:
        config = api.ConsumerConfig(
            deliver_subject=inbox,
            ack_policy=api.AckPolicy.NONE,
            max_deliver=1,
            mem_storage=True,
            num_replicas=1,
            idle_heartbeat=HEARTBEAT_SECONDS,
            inactive_threshold=FORGOTTEN_SECONDS,
        )
        if len(self._subjects) == 1:
            config.filter_subject = self._subjects[0]
        else:
            config.filter_subjects = list(self._subjects)
        if self._next_sequence is not None:
            config.deliver_policy = api.DeliverPolicy.BY_START_SEQUENCE
            config.opt_start_seq = max(1, self._next_sequence)
        elif isinstance(self._start, datetime):
            config.deliver_policy = api.DeliverPolicy.BY_START_TIME
            config.opt_start_time = self._start
        return config

    async def _reopen(self) -> None:
        while not self._client.is_closed:
            await self._discard()
            try:
                return await self._open()
            except _FAULTS:
                await asyncio.sleep(0.25)
        raise UnavailableError("the bus connection is closed")

    async def _discard(self) -> None:
        """Best effort, and the server removes the consumer by itself: who may delete one could delete others' durables."""
        subscription, self._subscription = self._subscription, None
        if subscription is None or self._client.is_closed:
            return
        with contextlib.suppress(*_FAULTS):
            async with asyncio.timeout(1.0):
                await subscription.unsubscribe()
