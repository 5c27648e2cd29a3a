"""The one way to subscribe: durable consumers and query answers.

FastStream holds the connection and answers queries. Durables are pulled by `Pull`, on the same connection, and acknowledged by
`DeliveryDesk` only: the framework's defaults terminate a message at the first exception and run long ones twice. Reconnects are
endless, and a callback ends the process when the connection is closed for good.
"""

from __future__ import annotations

import asyncio
import difflib
import logging
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import replace
from typing import Any, TypeVar

import nats.errors
import nats.js.errors
import structlog
from faststream.middlewares import AckPolicy
from faststream.nats import NatsBroker
from faststream.nats.message import NatsMessage
from faststream.nats.security import NatsNKey
from faststream.security import BaseSecurity, SASLPlaintext
from nats.aio.client import Client
from opentelemetry.trace import SpanKind
from pydantic import BaseModel

from shared.ending import end_tasks
from shared.errors import ConfigurationError, EvolineError, LimitReachedError, UnavailableError
from shared.events import Message, Query
from shared.identity import UNSIGNED, RegistryFile, Signature
from shared.messaging import codec, envelope, headers, questions
from shared.messaging.bus import Bus
from shared.messaging.connection import (
    CONNECT_SECONDS,
    ConnectionLog,
    OnClosed,
    client_options,
    close_client,
    tolerate_broken_headers,
)
from shared.messaging.denials import DeniedError
from shared.messaging.handling import Delivery, DeliveryDesk, Effects, Subscription
from shared.messaging.pulling import Pull
from shared.messaging.retry import RetryPolicy
from shared.messaging.topology import Durable, durables
from shared.settings import SharedSettings

__all__ = ["Answer", "Consumer", "Delivery", "Effects"]

M = TypeVar("M", bound=Message)
Q = TypeVar("Q", bound=Query)
Answer = BaseModel | Mapping[str, Any]
ANSWER_SECONDS = 30.0
ANSWERS_AT_ONCE = 16


class Consumer:
    """Subscriptions of one service, over a connection of its own. Register all, then `start`."""

    def __init__(self, bus: Bus, settings: SharedSettings, *, on_closed: OnClosed | None = None) -> None:
        self._bus = bus
        self._settings = settings
        self._identities = RegistryFile(settings.identities_file)
        self._faults = ConnectionLog(f"{bus.service}-consumer", settings.nats_user, settings.nats_seed_file)
        self._broker = self._new_broker(on_closed)
        self._desks: list[DeliveryDesk] = []
        self._pulls: list[Pull] = []
        self._queries: set[str] = set()
        self._answering: set[asyncio.Task[Any]] = set()
        self._client: Client | None = None
        self._table = {durable.name: durable for durable in durables()}
        self._log = structlog.get_logger("shared.messaging")

    def on(  # noqa: PLR0913  one subscription has these properties; every one but the first three has a default
        self,
        message_class: type[M],
        handler: Callable[[M, Delivery], Awaitable[Effects]],
        *,
        durable: str,
        concurrency: int = 1,
        deadline_seconds: float = 60.0,
        max_attempts: int = 5,
        ack_wait_seconds: float = 6.0,
        retry: RetryPolicy | None = None,
    ) -> None:
        """Handles every message of `message_class` through a durable of the topology, at most `concurrency` at once.

        The handler's effects, pairs of effect name and message, are published under ids derived from the delivery's message
        id; the message is acknowledged after that. Raises ConfigurationError for a durable that is not in the topology."""
        row = self._row(message_class, durable)
        policy = replace(retry or RetryPolicy(), max_attempts=max_attempts)
        if max(policy.max_attempts, policy.transient_attempts) >= row.max_deliver:
            raise ConfigurationError(
                f"durable {durable} is delivered {row.max_deliver} times at most; allow fewer attempts than that"
            )
        desk = DeliveryDesk(
            self._bus,
            Subscription(
                message_class=message_class,
                handler=handler,
                durable=durable,
                stream=row.stream,
                deadline_seconds=deadline_seconds,
                heartbeat_seconds=min(ack_wait_seconds, row.ack_wait_seconds) / 3,
                retry=policy,
                ack_wait_seconds=row.ack_wait_seconds,
            ),
            identities=self._identities,
        )
        self._desks.append(desk)
        self._pulls.append(Pull(row, concurrency, desk.receive))

    def answers(self, query_class: type[Q], handler: Callable[[Q], Awaitable[Answer]]) -> None:
        """Answers a query, shared among all processes of the service; errors travel in an envelope (`envelope.py`).

        Raises ConfigurationError for a query that is signed: its answer depends on who asks, see `answers_signed`."""
        if query_class.signed:
            raise ConfigurationError(f"{query_class.__name__} is signed: subscribe it with `answers_signed`, and look at who asks")

        async def to_anybody(query: Q, _: Signature) -> Answer:
            return await handler(query)

        self._answers(query_class, to_anybody)

    def answers_signed(self, query_class: type[Q], handler: Callable[[Q, Signature], Awaitable[Answer]]) -> None:
        """The same, with what is known of who asks."""
        self._answers(query_class, handler)

    def _answers(self, query_class: type[Q], handler: Callable[[Q, Signature], Awaitable[Answer]]) -> None:
        if query_class.owner != self._bus.service:
            raise ConfigurationError(f"{query_class.__name__} is answered by {query_class.owner}, not by {self._bus.service}")
        if query_class.subject in self._queries:
            raise ConfigurationError(f"{query_class.__name__} has an answer already")
        self._queries.add(query_class.subject)

        async def on_query(message: NatsMessage) -> None:
            task = asyncio.current_task()
            assert task is not None
            if not _is_asked(query_class, message):
                self._log.warning("not a question", subject=message.raw_message.subject, reply_to=message.reply_to)
                return
            self._answering.add(task)
            try:
                await self._answer(query_class, handler, message)
            except asyncio.CancelledError:
                task.uncancel()
            finally:
                self._answering.discard(task)

        self._broker.subscriber(
            query_class.subject,
            queue=query_class.owner,
            max_workers=ANSWERS_AT_ONCE,
            no_reply=True,
            decoder=_undecoded,
        )(on_query)

    async def start(self) -> None:
        """Raises ConfigurationError where a stream or durable is missing, or is not for this user: nothing is created here."""
        try:
            missing = await self._missing()
        except DeniedError as error:
            raise ConfigurationError(f"service {self._bus.service}: {error}") from error
        if missing:
            raise ConfigurationError(f"the bus has no durable {', '.join(missing)}: run `evoline bus apply`")
        try:
            async with asyncio.timeout(CONNECT_SECONDS + len(self._broker.subscribers)):
                self._faults.client = self._client = await self._broker.connect()
                tolerate_broken_headers(self._client)
                # The framework's callback raises a refusal out of the client's loop of reconnects: it would try no more, silently.
                self._client._error_cb = self._faults.on_error
                await self._broker.start()
                for pull in self._pulls:
                    await pull.start(self._client)
                # Subscriptions are only queued so far, and the first ping overtakes them; after the second the server knows them.
                await self._client.flush()
                await self._client.flush()
                if denied := self._faults.denials.subscriptions:
                    raise ConfigurationError(str(self._faults.denials.error("subscription", denied[0])))
        except (TimeoutError, OSError, nats.errors.Error) as error:
            raise ConfigurationError(f"cannot consume from the bus: {self._faults.last or error}") from error

    async def check(self) -> None:
        """Raises UnavailableError naming what is not there: the connection, or a durable that was deleted under us."""
        if not await self._broker.ping(timeout=2.0):
            raise UnavailableError("the consumer's connection to the broker is down")
        if missing := await self._missing():
            raise UnavailableError(f"the bus has no durable {', '.join(missing)}: run `evoline bus apply`")

    async def stop(self, grace_seconds: float = 2.0) -> None:
        """Takes nothing new, gives what is in flight `grace_seconds` to end, then hands it back for redelivery."""
        stopping = asyncio.ensure_future(self._stop_taking())
        await asyncio.wait({stopping}, timeout=grace_seconds)
        for task in [*self._answering, *(task for desk in self._desks for task in desk.in_flight)]:
            task.cancel()
        done, _ = await asyncio.wait({stopping}, timeout=2.0)
        if not done:
            await end_tasks(stopping)
        failure = next(iter(await asyncio.gather(stopping, return_exceptions=True)))
        if isinstance(failure, Exception):
            self._log.warning("consumer did not stop cleanly", error=str(failure))
        if self._client:
            await close_client(self._client, timeout_seconds=1.0)

    async def _stop_taking(self) -> None:
        await asyncio.gather(*(pull.stop() for pull in self._pulls))
        await asyncio.gather(*(pull.join() for pull in self._pulls))
        await self._broker.stop()

    def _new_broker(self, on_closed: OnClosed | None) -> NatsBroker:
        settings = self._settings
        options = client_options(settings, f"{self._bus.service}-consumer", self._faults, on_closed)
        return NatsBroker(
            security=_security(options),
            **options,
            graceful_timeout=5.0,
            apply_types=False,
            ack_policy=AckPolicy.MANUAL,
            logger=logging.getLogger("faststream"),
            log_level=logging.DEBUG,
        )

    def _row(self, message_class: type[Message], durable: str) -> Durable:
        row = self._table.get(durable)
        place = "add a row to shared/messaging/topology.py, then run `evoline bus apply`"
        if row is None:
            own = [name for name, known in self._table.items() if known.service == self._bus.service]
            near = "".join(f" (is it {name}?)" for name in difflib.get_close_matches(durable, own, n=1))
            raise ConfigurationError(f"durable {durable} is not in the topology{near}: {place}")
        if row.service != self._bus.service or row.filter_subject != message_class.subject:
            raise ConfigurationError(
                f"durable {durable} carries {row.filter_subject} to {row.service}, "
                f"not {message_class.subject} to {self._bus.service}: {place}"
            )
        if any(desk.subscription.durable == durable for desk in self._desks):
            raise ConfigurationError(f"durable {durable} has a handler already; raise its concurrency instead")
        return row

    async def _missing(self) -> list[str]:
        wanted = [self._table[desk.subscription.durable] for desk in self._desks]
        found = await asyncio.gather(*(self._exists(row) for row in wanted))
        return [f"{row.stream}/{row.name}" for row, exists in zip(wanted, found, strict=True) if not exists]

    async def _exists(self, row: Durable) -> bool:
        try:
            with self._bus.denials.watched(f"$JS.API.CONSUMER.INFO.{row.stream}.{row.name}"):
                await self._bus.jetstream.consumer_info(row.stream, row.name, timeout=2.0)
        except nats.js.errors.NotFoundError:
            return False
        except (nats.errors.Error, nats.js.errors.Error, TimeoutError, OSError) as error:
            raise UnavailableError(f"the broker does not tell about {row.stream}/{row.name}: {error}") from error
        return True

    async def _answer(
        self, query_class: type[Q], handler: Callable[[Q, Signature], Awaitable[Answer]], message: NatsMessage
    ) -> None:
        parts, subject = self._bus.parts, query_class.subject
        started, code = parts.clock.monotonic(), "ok"
        context = headers.extract_trace(message.headers)
        with parts.tracer.start_as_current_span(f"answer {subject}", context=context, kind=SpanKind.SERVER):
            try:
                async with asyncio.timeout(ANSWER_SECONDS):
                    query = codec.decode(query_class, message.raw_message.data)
                    reply = envelope.success(await handler(query, self._signature(query_class, message)))
            except EvolineError as error:
                reply, code = envelope.failure(error), error.code
            except TimeoutError:
                late = LimitReachedError("seconds", f"no answer within {ANSWER_SECONDS:g} s")
                reply, code = envelope.failure(late), late.code
            except Exception as error:
                self._log.exception("query failed", subject=subject)
                reply, code = envelope.failure(error), envelope.INTERNAL
        if message.reply_to and self._client is not None:
            # On the connection that was asked: the broker lets only that one answer.
            await self._client.publish(message.reply_to, reply)
        parts.observer.answered(subject, code, parts.clock.monotonic() - started)

    def _signature(self, query_class: type[Query], message: NatsMessage) -> Signature:
        """Raises UnavailableError where the registry cannot be read."""
        if not query_class.signed:
            return UNSIGNED
        return questions.signature_of(message.raw_message, self._identities.current(), self._bus.parts.clock.now())


def _security(options: dict[str, Any]) -> BaseSecurity | None:
    """Takes the credentials out of the client's options."""
    if seed := options.pop("nkeys_seed_str", ""):
        return NatsNKey.from_seed(seed)
    user, password = options.pop("user", ""), options.pop("password", "")
    return SASLPlaintext(username=user, password=password) if user else None


def _is_asked(query_class: type[Query], message: NatsMessage) -> bool:
    """Not asked: what the broker was made to deliver here from a stream (it keeps its own subject), and what wants its answer on
    a subject that only this service may publish to."""
    return message.raw_message.subject == query_class.subject and (message.reply_to or "_INBOX.").startswith("_INBOX.")


async def _undecoded(message: NatsMessage) -> NatsMessage:
    """Leaves decoding to us, so that a body that cannot be read is handled like any other fault of a message."""
    return message
