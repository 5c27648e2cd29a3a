"""A proposed change from the first look to its verdict."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass

import structlog

from services.guardrail.domain.records import SHIPPED_AUTHOR, SHIPPED_PREFIX, ChangeRecord
from services.guardrail.ports import Guardrail, LostRaceError
from services.guardrail.use_cases.applying import Standing, apply, held, met_by
from services.guardrail.use_cases.objecting import Look, looked_into
from services.guardrail.use_cases.policies import in_force
from services.guardrail.use_cases.telling import Effects, told
from services.guardrail.use_cases.verdicts import ASSESSED, judged, written
from shared.errors import InvalidInputError, TransientError
from shared.events.changes import ProposeChange
from shared.events.recovery import Freeze
from shared.identity import UNSIGNED, Signature


@dataclass(frozen=True)
class Place:
    """The proposal's message: its id, and its place in the stream; 0 for what came by none."""

    message_id: str = ""
    sequence: int = 0


NOWHERE = Place()


async def propose_change(
    command: ProposeChange,
    at: Guardrail,
    *,
    attempt: int = 1,
    place: Place = NOWHERE,
    signature: Signature = UNSIGNED,
) -> Effects:
    """Idempotent by change id: a repeat, with whatever content, is answered with the verdict on the first one. Changes of one
    pipeline are judged in the order of the stream, by the policy in force when its turn comes; during a freeze they are kept, and
    judged later in that order.

    Raises `InvalidInputError` for an id or author under which only the system itself acts."""
    if command.change_id.startswith(SHIPPED_PREFIX) or command.author == SHIPPED_AUTHOR:
        raise InvalidInputError(f"ids `{SHIPPED_PREFIX}...` and the author `{SHIPPED_AUTHOR}` are the system's own; choose others")
    opened = ChangeRecord.opened(command, at.clock.now().isoformat(), signature)
    opened = opened.model_copy(update={"cause": place.message_id, "sequence": place.sequence, "version": 0})
    patient = attempt < at.limits.patient_attempts
    # Stored while it waits for its turn, too: another process sees then that it came.
    opening = asyncio.ensure_future(at.changes.open(opened))
    try:
        async with at.turns.of(opened.pipeline), looking(opened, at) as looks:
            record = await opening
            if record == opened:
                return await _in_its_turn(record, looks, at, patient=patient)
    finally:
        opening.cancel()
    async with at.turns.of(record.pipeline), looking(record, at) as looks:
        return await _in_its_turn(record, looks, at, patient=patient)


@dataclass(frozen=True)
class Looks:
    """What a turn begins with, asked for at the same time."""

    policy: asyncio.Future[Guardrail]
    freeze: asyncio.Future[Freeze | None]
    document: asyncio.Future[Look] | None
    """None for what is judged already, and for what holds no pipeline."""


@asynccontextmanager
async def looking(record: ChangeRecord, at: Guardrail) -> AsyncIterator[Looks]:
    policy, freeze = asyncio.ensure_future(in_force(at)), asyncio.ensure_future(_freeze_of(record, at))
    is_document = record.is_open and record.kind not in ASSESSED
    document = asyncio.ensure_future(looked_into(record, at)) if is_document else None
    begun = [each for each in (policy, freeze, document) if each is not None]
    try:
        yield Looks(policy, freeze, document)
    finally:
        for each in begun:
            each.cancel()
        await asyncio.gather(*begun, return_exceptions=True)


async def _in_its_turn(record: ChangeRecord, looks: Looks, at: Guardrail, *, patient: bool) -> Effects:
    try:
        # Asked after it is stored itself: of two that different processes took, the one that was stored first goes first.
        earlier = await _earlier(record, at)
        if not earlier:
            _, effects = await _resumed(record, looks, at, patient=patient)
            return effects
        if freeze := await looks.freeze:
            # It waits behind them, however many they are: what is held is carried on in its order.
            return await told(await held(record, freeze, at), at)
        await _carry_on(earlier, await looks.policy, patient=patient)
        _, effects = await carried_on(record, at, patient=patient)
        return effects
    except LostRaceError:
        known = await at.changes.get(record.change_id)
        if known is None or known.is_open:
            raise
        # A repeat of what was judged before, or what another process judged meanwhile.
        _, effects = await carried_on(known, at, patient=patient)
        return effects


async def _earlier(record: ChangeRecord, at: Guardrail) -> Sequence[str]:
    return await at.changes.earlier(record) if record.is_open and record.sequence else ()


async def _freeze_of(record: ChangeRecord, at: Guardrail) -> Freeze | None:
    """Why it may not be judged now."""
    return await at.freeze.holding(record.pipeline, record.domain) if record.is_open else None


async def carried_on(record: ChangeRecord, at: Guardrail, *, patient: bool) -> tuple[ChangeRecord, Effects]:
    """The record from wherever it stands to its verdict and effect, or to being held, with what is to be told of it."""
    async with looking(record, at) as looks:
        return await _resumed(record, looks, at, patient=patient)


async def _resumed(record: ChangeRecord, looks: Looks, at: Guardrail, *, patient: bool) -> tuple[ChangeRecord, Effects]:
    at = await looks.policy
    if freeze := await looks.freeze:
        record = await held(record, freeze, at)
        return record, await told(record, at)
    is_first, met = record.is_open, None
    if is_first:
        verdict = await judged(record, looks.document, at, patient=patient)
        record, met = await asyncio.gather(written(verdict, at), _met(verdict, at))
    if record.status == "approved":
        record = await apply(record, at, met)
    return record, await told(record, at, with_gate=not record.decisions, is_first=is_first)


async def _met(verdict: ChangeRecord, at: Guardrail) -> Standing | None:
    return await met_by(verdict, at) if verdict.status == "approved" else None


async def _carry_on(change_ids: Sequence[str], at: Guardrail, *, patient: bool) -> None:
    """One that failed and will be delivered again, or that another process took, is judged before those that came after it; its
    own delivery then tells it. Whoever is faster writes: the other one's write is refused."""
    for change_id in change_ids:
        earlier = await at.changes.get(change_id)
        if earlier is None or not earlier.is_open:
            continue  # judged meanwhile, by whoever took it
        try:
            await carried_on(earlier, at, patient=patient)
        except TransientError:
            raise
        except Exception:
            # What cannot be judged at all is buried by its own delivery; it must not take others with it.
            structlog.get_logger("services.guardrail").exception("earlier change skipped", change_id=change_id)
