"""The story of one delivery: decode, handle under heartbeat and deadline, publish effects, then acknowledge; or retry, or bury."""

from __future__ import annotations

import asyncio
import contextlib
import random
from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from types import MappingProxyType
from typing import Any

import nats.errors
import structlog
from nats.aio.msg import Msg
from opentelemetry.trace import Span, SpanKind, StatusCode, format_trace_id, get_current_span

from shared.errors import EvolineError, FencedError, InvalidInputError, LimitReachedError, PermanentError, TransientError
from shared.events import Command, Message
from shared.events.operations import CommandRefused
from shared.identity import UNSIGNED, RegistryFile, Signature
from shared.identity.signing import check_signature
from shared.messaging import codec, dead_letters, headers
from shared.messaging.bus import Bus, message_id_of
from shared.messaging.envelope import INTERNAL, problems_in
from shared.messaging.lease import Lease
from shared.messaging.observer import Outcome
from shared.messaging.retry import RetryPolicy


@dataclass(frozen=True)
class Delivery:
    """One delivery of one message. `message_id` is the same however often it is delivered or redriven."""

    message_id: str
    sequence: int
    """Stream sequence."""
    attempt: int
    """1-based; counts deliveries to whichever process."""
    subject: str
    headers: Mapping[str, str]
    is_held: Callable[[], bool] = lambda: True
    """False once this process was silent for so long that the broker may have given the message to another."""
    signature: Signature = UNSIGNED
    body: bytes = b""
    """As it was sent, and signed."""

    @property
    def signer(self) -> str:
        """Verified name of the identity that signed; empty where the message is unsigned, or not signed as it should be."""
        return self.signature.signer


Effects = Iterable[tuple[str, Message]] | None
Handler = Callable[[Any, Delivery], Awaitable[Effects]]


@dataclass(frozen=True)
class Subscription:
    """One `Consumer.on`."""

    message_class: type[Message]
    handler: Handler
    durable: str
    stream: str
    deadline_seconds: float
    heartbeat_seconds: float
    retry: RetryPolicy
    ack_wait_seconds: float = 6.0
    """The broker's, after which a silent delivery is given to another."""


class HandlerDeadlineError(LimitReachedError):
    """A handler that did not end in time; retried like an error of unknown kind."""


@dataclass
class DeliveryDesk:
    """Handles the deliveries of one subscription; any number at once."""

    bus: Bus
    subscription: Subscription
    rng: random.Random = field(default_factory=random.Random)
    in_flight: set[asyncio.Task[Any]] = field(default_factory=set)
    identities: RegistryFile | None = None

    async def receive(self, message: Msg) -> None:
        """Never raises for a message's own faults; a cancellation gives the message back at once."""
        task = asyncio.current_task()
        assert task is not None
        self.in_flight.add(task)
        parts, subject = self.bus.parts, message.subject
        started = parts.clock.monotonic()
        lease = self._lease(message)
        try:
            outcome = await self._traced(message, lease)
        except asyncio.CancelledError:
            await self._give_back(message, lease)
            outcome = "abandoned"
            task.uncancel()
        finally:
            self.in_flight.discard(task)
        parts.observer.handled(subject, outcome, parts.clock.monotonic() - started)

    def _lease(self, message: Msg) -> Lease:
        wait, beat = self.subscription.ack_wait_seconds, self.subscription.heartbeat_seconds
        return Lease(message, self.bus.parts.clock, ack_wait_seconds=wait, beat_seconds=beat)

    async def _traced(self, message: Msg, lease: Lease) -> Outcome:
        delivery = replace(delivery_of(message), is_held=lambda: lease.is_held)
        if delivery.attempt > 1:
            self.bus.parts.observer.redelivered(delivery.subject)
        context = headers.extract_trace(delivery.headers)
        name = f"process {delivery.subject}"
        with self.bus.parts.tracer.start_as_current_span(name, context=context, kind=SpanKind.CONSUMER) as span:
            span.set_attributes(
                {
                    "messaging.system": "nats",
                    "messaging.destination.name": delivery.subject,
                    "messaging.message.id": delivery.message_id,
                    "evoline.attempt": delivery.attempt,
                }
            )
            with structlog.contextvars.bound_contextvars(message_id=delivery.message_id, subject=delivery.subject):
                async with lease.kept():
                    return await self._settled(message, delivery, span, lease)

    async def _settled(self, message: Msg, delivery: Delivery, span: Span, lease: Lease) -> Outcome:
        try:
            await self._handle(message, delivery)
        except FencedError:
            # Another owner handles this message now; acknowledging here would take it away from that owner.
            return "abandoned"
        except Exception as error:
            span.set_status(StatusCode.ERROR, type(error).__name__)
            if not lease.is_held:
                structlog.get_logger("shared.messaging").warning("late failure left to the message's next owner", error=str(error))
                return "abandoned"
            return await self._failed(message, delivery, error)
        await message.ack()
        return "done"

    async def _handle(self, message: Msg, delivery: Delivery) -> None:
        subscription = self.subscription
        if delivery.attempt > max(subscription.retry.max_attempts, subscription.retry.transient_attempts):
            raise LimitReachedError("attempts", f"delivered {delivery.attempt - 1} times, and no process survived handling it")
        headers.check_attributes(subscription.message_class, delivery.headers)
        headers.check_schedule(subscription.message_class, delivery.headers)
        body = codec.decode(subscription.message_class, message.data)
        delivery = replace(delivery, signature=self._signature(message, delivery))
        try:
            async with asyncio.timeout(subscription.deadline_seconds) as deadline:
                effects = await subscription.handler(body, delivery)
        except TimeoutError as error:
            if not deadline.expired():
                raise
            raise HandlerDeadlineError("seconds", f"not handled within {subscription.deadline_seconds:g} s") from error
        for effect, fact in effects or ():
            await self.bus.publish(fact, cause=delivery.message_id, effect=effect)

    def _signature(self, message: Msg, delivery: Delivery) -> Signature:
        """Raises UnavailableError where the registry cannot be read: the message has to wait."""
        if self.identities is None:
            return UNSIGNED
        return check_signature(
            delivery.headers,
            subject=delivery.subject,
            message_id=delivery.message_id,
            body=message.data,
            stored_at=message.metadata.timestamp,
            registry=self.identities.current(),
        )

    async def _failed(self, message: Msg, delivery: Delivery, error: Exception) -> Outcome:
        retry, log = self.subscription.retry, structlog.get_logger("shared.messaging")
        transient = isinstance(error, TransientError)
        permanent = isinstance(error, PermanentError) and not isinstance(error, HandlerDeadlineError)
        if permanent or retry.is_last(delivery.attempt, transient=transient):
            log.error("message dead-lettered", error=str(error), attempt=delivery.attempt, exc_info=_trace_of(error))
            return await self._bury(message, delivery, error)
        wished = error.retry_after_seconds if isinstance(error, TransientError) else None
        delay = retry.delay_seconds(delivery.attempt, self.rng, wished)
        log.warning("message retried", error=str(error), attempt=delivery.attempt, delay_seconds=delay, exc_info=_trace_of(error))
        await message.nak(delay=delay)
        return "retried"

    async def _bury(self, message: Msg, delivery: Delivery, error: Exception) -> Outcome:
        """Stores the letter, publishes the refusal, then terminates: a crash in between repeats the first two harmlessly."""
        code = error.code if isinstance(error, EvolineError) else INTERNAL
        failure = dead_letters.Failure(
            code=code,
            error=str(error) if isinstance(error, EvolineError) else f"{type(error).__name__}: {error}",
            attempts=delivery.attempt,
            trace_id=current_trace_id(),
            message_id=delivery.message_id,
            durable=self.subscription.durable,
        )
        try:
            await dead_letters.bury(self.bus, message, failure)
            if issubclass(self.subscription.message_class, Command):
                await self._tell(self._refusal(message, delivery, code, error), delivery)
        except (EvolineError, nats.errors.Error) as fault:
            structlog.get_logger("shared.messaging").error("dead letter not stored, message kept", error=str(fault))
            await message.nak(delay=self.subscription.retry.max_seconds)
            return "retried"
        await message.term()
        return "dead_lettered"

    async def _tell(self, refusal: CommandRefused, delivery: Delivery) -> None:
        try:
            await self.bus.publish(refusal, cause=delivery.message_id, effect="refused")
        except InvalidInputError as fault:
            # The letter is stored; a refusal that no message could carry must not keep the command for ever.
            structlog.get_logger("shared.messaging").error("refusal not published", error=str(fault)[:500])

    def _refusal(self, message: Msg, delivery: Delivery, code: str, error: Exception) -> CommandRefused:
        return CommandRefused(
            command=delivery.subject,
            message_id=delivery.message_id,
            correlation_id=codec.correlation_id(self.subscription.message_class, message.data),
            service=self.bus.service,
            code=code,
            problems=problems_in(error)[:100],
            attempts=delivery.attempt,
        )

    async def _give_back(self, message: Msg, lease: Lease) -> None:
        """Delivered again at once, to whoever still consumes; without the broker, after its `ack_wait`."""
        with contextlib.suppress(nats.errors.Error, OSError):
            if lease.is_held and not message.is_acked:
                await message.nak()


def delivery_of(message: Msg) -> Delivery:
    metadata = message.metadata
    return Delivery(
        message_id=message_id_of(message),
        sequence=metadata.sequence.stream,
        attempt=metadata.num_delivered,
        subject=message.subject,
        headers=MappingProxyType(dict(message.headers or {})),
        body=message.data,
    )


def current_trace_id() -> str:
    """32 hex digits, or empty outside of any trace."""
    context = get_current_span().get_span_context()
    return format_trace_id(context.trace_id) if context.is_valid else ""


def _trace_of(error: Exception) -> Exception | None:
    """A stack trace is worth logging only for what nobody raised on purpose."""
    return None if isinstance(error, EvolineError) else error
