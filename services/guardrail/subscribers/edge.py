"""Where commands and signed questions come in: who may, and what a closed audit log keeps waiting."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any, TypeVar

from services.guardrail import use_cases
from services.guardrail.domain.authority import AUTHORITY, QUESTIONS, authorize
from services.guardrail.ports import Guardrail
from services.guardrail.use_cases import Effects
from shared.errors import ConfigurationError, NotAuthorizedError
from shared.events.message import Command, Query
from shared.identity import Signature
from shared.messaging.consumer import Answer, Consumer
from shared.messaging.handling import Delivery, Handler
from shared.messaging.retry import RetryPolicy

PATIENT = RetryPolicy(transient_attempts=900)
"""About five hours: a log is mended by people. What became a dead letter meanwhile could not be sent back, for a signature holds
only minutes before the moment when its message is stored."""

C = TypeVar("C", bound=Command)

Q = TypeVar("Q", bound=Query)


class Edge:
    """Commands come in here only: first it is asked who sent them, then they are handled."""

    def __init__(self, consumer: Consumer, at: Guardrail) -> None:
        self._consumer = consumer
        self._at = at

    def on(self, command_class: type[C], handler: Callable[[C, Delivery], Awaitable[Effects]], **options: Any) -> None:
        """Raises `ConfigurationError` for a command that the table of authority does not know."""
        if command_class not in AUTHORITY:
            raise ConfigurationError(
                f"{command_class.__name__} has no row in services/guardrail/domain/authority.py: who may send it?"
            )

        async def checked(command: C, delivery: Delivery) -> Effects:
            try:
                authorize(command, delivery.signature)
            except NotAuthorizedError as error:
                await use_cases.audit_unauthorized(
                    command, str(error), self._at, signer=delivery.signer, message_id=delivery.message_id
                )
                raise
            return await handler(command, delivery)

        self._consumer.on(command_class, checked, **options)

    def answers(self, query_class: type[Q], handler: Callable[[Q], Awaitable[Answer]]) -> None:
        """Of those that the table knows; it is asked first who asks. A refusal is counted with the answers, by its code: an entry
        of the audit log for each would let anybody fill it."""
        if query_class not in QUESTIONS:
            raise ConfigurationError(
                f"{query_class.__name__} has no row in services/guardrail/domain/authority.py: who may ask it?"
            )

        async def checked(query: Q, signature: Signature) -> Answer:
            authorize(query, signature)
            return await handler(query)

        self._consumer.answers_signed(query_class, checked)


def while_sound(edge: Edge, at: Guardrail) -> Callable[..., None]:
    """Subscribes commands that decide something: only while the audit log is sound, and with what is refused in it."""

    def on(command: type[Command], handler: Handler, **options: Any) -> None:
        async def while_the_log_is_sound(message: Any, delivery: Delivery) -> Effects:
            at.audit.require_sound()
            effects = list(await handler(message, delivery) or ())
            await use_cases.audit_refusals(message, effects, at, message_id=delivery.message_id)
            return effects

        edge.on(command, while_the_log_is_sound, retry=PATIENT, **options)

    return on


def taking_away(edge: Edge, at: Guardrail) -> Callable[..., None]:
    """Subscribes commands that only make things safer: they do not wait for a log that is closed, which is told."""
    late = use_cases.taking_away(at)

    def on(command: type[Command], use_case: Callable[[Any, Guardrail], Awaitable[Effects]], **options: Any) -> None:
        async def at_once(message: Any, delivery: Delivery) -> Effects:
            effects = list(await use_case(message, late) or ())
            await use_cases.audit_refusals(message, effects, late, message_id=delivery.message_id)
            return await use_cases.told_loudly(message, effects, late)

        edge.on(command, at_once, **options)

    return on
