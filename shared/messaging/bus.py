"""The bus as its clients see it: publish a command or fact, ask a query, follow facts."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import nats.errors
import nats.js.errors
import structlog
from nats.aio.client import Client
from nats.aio.msg import Msg
from nats.js import JetStreamContext
from opentelemetry.trace import SpanKind, Tracer, get_tracer

from shared.clock import Clock, SystemClock
from shared.errors import InvalidInputError, UnavailableError
from shared.events import Command, Fact, Message, Query, derive_id
from shared.identity import MessageSigner, signer_of_file
from shared.messaging import codec, envelope, headers
from shared.messaging.connection import PUBLISH_SECONDS, BusClient, OnClosed, close_client, open_client
from shared.messaging.denials import Denials
from shared.messaging.observer import BusObserver, SilentObserver
from shared.messaging.questions import Asker
from shared.messaging.reader import StreamReader
from shared.messaging.topology import TIMER_PREFIX
from shared.settings import SharedSettings

_MAX_ID_CHARACTERS = 256
RETRY_SECONDS = 15.0
"""How long a publish is retried under the same id; a leader election takes 7 s."""
_MESSAGE_TOO_LARGE = 10054


@dataclass(frozen=True)
class Received:
    """Where a followed fact stands: `sequence` + 1 continues after it."""

    sequence: int
    message_id: str
    subject: str
    time: datetime
    headers: Mapping[str, str]


@dataclass(frozen=True)
class BusParts:
    """What a bus reports to; the defaults report to nobody."""

    clock: Clock
    tracer: Tracer
    observer: BusObserver

    @classmethod
    def silent(cls) -> BusParts:
        return cls(clock=SystemClock(), tracer=get_tracer("evoline.messaging"), observer=SilentObserver())


class Bus:
    """One connection. `service` names the sender: a service, `cli`, `console`, `test`."""

    def __init__(self, client: Client, *, service: str, parts: BusParts | None = None, signer: MessageSigner | None = None) -> None:
        self.service = service
        self.client = client
        self.denials = client.denials if isinstance(client, BusClient) else Denials("")
        self.signer = signer
        self.parts = parts or BusParts.silent()
        self.jetstream: JetStreamContext = client.jetstream(timeout=PUBLISH_SECONDS)
        self._log = structlog.get_logger("shared.messaging")

    @classmethod
    async def connect(
        cls, settings: SharedSettings, *, service: str, parts: BusParts | None = None, on_closed: OnClosed | None = None
    ) -> Bus:
        """Raises ConfigurationError where no broker answers. `on_closed` is awaited when the connection closes for good."""
        signer = signer_of_file(settings.identity_key_file) if settings.identity_key_file else None
        client = await open_client(settings, name=service, on_closed=on_closed)
        return cls(client, service=service, parts=parts, signer=signer)

    def signed_by(self, signer: MessageSigner | None) -> Bus:
        """The same connection under another signature."""
        return Bus(self.client, service=self.service, parts=self.parts, signer=signer)

    async def publish(self, message: Message, *, cause: str, effect: str = "") -> str:
        """Stores a command or fact and returns its id, derived from `cause` and `effect` (default: the subject).

        The same cause and effect again within two minutes is one message. Returns once the stream has it on disk. Raises
        InvalidInputError (too large), DeniedError (at once), UnavailableError (no stream took it for 15 s)."""
        event_id = derive_id(cause, effect or message.subject)
        parts = self.parts
        started = parts.clock.monotonic()
        with parts.tracer.start_as_current_span(f"publish {message.subject}", kind=SpanKind.PRODUCER) as span:
            span.set_attributes(_span_attributes(message.subject, event_id))
            fields = headers.cloud_event(message, event_id=event_id, cause=cause, service=self.service, now=parts.clock.now())
            body = codec.encode(message)
            fields |= self._signature(message, event_id, body)
            await self.store(message.subject, body, headers.inject_trace(fields))
        parts.observer.published(message.subject, parts.clock.monotonic() - started)
        return event_id

    def _signature(self, message: Message, event_id: str, body: bytes) -> dict[str, str]:
        if self.signer is None or not message.signed:
            return {}
        return self.signer.sign(message.subject, event_id, body, self.parts.clock.now())

    async def publish_at(self, command: Command, moment: datetime, *, cause: str, effect: str) -> str:
        """Has the broker publish a command at `moment`, by its own schedule: it needs nobody who lives until then.

        A later one of the same cause and subject replaces it. What is published then is a message without a sender's id: its
        handler must know by the body whether it was done. Raises as `publish` does."""
        event_id = derive_id(cause, effect)
        fields = headers.cloud_event(command, event_id=event_id, cause=cause, service=self.service, now=self.parts.clock.now())
        fields |= headers.schedule(command.subject, moment)
        await self.store(f"{TIMER_PREFIX}{command.owner}.{derive_id(cause, command.subject)[:32]}", codec.encode(command), fields)
        return event_id

    async def store(self, subject: str, body: bytes, fields: dict[str, str]) -> None:
        """Publishes raw bytes into the subject's stream, retrying under the same `Nats-Msg-Id`."""
        clock = self.parts.clock
        deadline, pause = clock.monotonic() + RETRY_SECONDS, 0.05
        while True:
            try:
                with self.denials.watched(subject):
                    await self.jetstream.publish(subject, body, timeout=PUBLISH_SECONDS, headers=dict(fields))
                return
            except nats.errors.MaxPayloadError as error:
                raise InvalidInputError(f"a message on {subject} with {len(body):,} bytes is more than the broker takes") from error
            except (nats.errors.Error, nats.js.errors.Error, TimeoutError, OSError) as error:
                if isinstance(error, nats.js.errors.APIError) and error.err_code == _MESSAGE_TOO_LARGE:
                    raise InvalidInputError(
                        f"a message on {subject} with {len(body):,} bytes is more than its stream takes"
                    ) from error
                if self.client.is_closed or clock.monotonic() + pause > deadline:
                    raise UnavailableError(_why_not_stored(subject, error)) from error
            self.parts.observer.publish_retried(subject)
            await clock.sleep(pause)
            pause = min(1.0, pause * 2)

    async def ask(self, query: Query, timeout_seconds: float = 5.0) -> dict[str, Any]:
        """The answer's data. Raises the error that the answering service describes, DeniedError where this user may not ask, or
        UnavailableError where nobody answers. A question whose class is `signed` is signed by an asker with an identity."""
        with self.parts.tracer.start_as_current_span(f"ask {query.subject}", kind=SpanKind.CLIENT):
            fields = headers.inject_trace({"content-type": "application/json"})
            try:
                with self.denials.watched(query.subject):
                    answer = await self._request(query, fields, timeout_seconds)
            except nats.errors.NoRespondersError as error:
                raise UnavailableError(f"nobody answers {query.subject}: the service {query.owner} does not run") from error
            except (nats.errors.Error, TimeoutError, OSError) as error:
                reason = "no answer" if isinstance(error, TimeoutError) else str(error)
                raise UnavailableError(f"{query.subject} failed: {reason} within {timeout_seconds:g} s") from error
            return envelope.open_answer(answer.data, query.subject)

    async def _request(self, query: Query, fields: dict[str, str], seconds: float) -> Msg:
        body = codec.encode(query)
        if self.signer is None or not query.signed:
            return await self.client.request(query.subject, body, timeout=seconds, headers=fields)
        asker = Asker(self.client, self.signer)
        return await asker.request(query.subject, body, fields, self.parts.clock.now(), seconds)

    @asynccontextmanager
    async def follow(
        self, *facts: type[Fact], since: datetime | int | None = None
    ) -> AsyncIterator[AsyncIterator[tuple[Fact, Received]]]:
        """Facts of these classes in order: those published after entering, or from a moment or stream sequence on.

        `async with bus.follow(RunFinished) as stream: await bus.publish(...); async for fact, received in stream: ...`
        Raises UnavailableError where the broker has no such stream, and from the iterator once the connection is closed."""
        by_subject = {fact.subject: fact for fact in facts}
        async with StreamReader(self.client, "EVT", tuple(by_subject), since, copy="FACTS") as reader:
            yield self._facts(reader, by_subject)

    async def _facts(self, reader: StreamReader, by_subject: Mapping[str, type[Fact]]) -> AsyncIterator[tuple[Fact, Received]]:
        async for message in reader.messages():
            try:
                fact = codec.decode(by_subject[message.subject], message.data)
            except InvalidInputError as error:
                # A follower only watches: a broken fact is dead-lettered by the durable consumers and must not blind it.
                self._log.warning("unreadable fact skipped", subject=message.subject, error=str(error)[:500])
                continue
            yield fact, received_of(message)

    async def check(self) -> None:
        """Raises UnavailableError where the broker does not answer within 2 s."""
        try:
            async with asyncio.timeout(2.0):
                await self.client.flush(timeout=2)
        except (nats.errors.Error, TimeoutError, OSError) as error:
            raise UnavailableError(f"the broker does not answer: {str(error) or type(error).__name__}") from error

    async def close(self) -> None:
        await close_client(self.client)


def received_of(message: Msg) -> Received:
    fields = message.headers or {}
    metadata = message.metadata
    return Received(
        sequence=metadata.sequence.stream,
        message_id=message_id_of(message),
        subject=message.subject,
        time=metadata.timestamp,
        headers=fields,
    )


def message_id_of(message: Msg) -> str:
    """The original's id for a redriven message, else the sender's, else one derived from where the message is stored.

    An id that no header could carry again, or a very long one, is replaced by one derived from it."""
    fields = message.headers or {}
    metadata = message.metadata
    given = fields.get(headers.ORIGINAL_ID) or fields.get(headers.MESSAGE_ID)
    if not given:
        return derive_id(metadata.stream, str(metadata.sequence.stream))
    return given if given == headers.one_line(given, _MAX_ID_CHARACTERS) else derive_id(given, "message")


def _why_not_stored(subject: str, error: BaseException) -> str:
    if isinstance(error, nats.js.errors.NoStreamResponseError):
        return f"no stream takes {subject}: run `evoline bus apply`"
    return f"{subject} was not stored within {RETRY_SECONDS:g} s: {str(error) or type(error).__name__}"


def _span_attributes(subject: str, event_id: str) -> dict[str, str]:
    return {"messaging.system": "nats", "messaging.destination.name": subject, "messaging.message.id": event_id}
