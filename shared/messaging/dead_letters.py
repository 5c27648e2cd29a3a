"""What could not be handled: kept with its payload, error, attempts and trace, listed, and sent back with `redrive`."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass

import nats.js.errors
from nats.aio.msg import Msg

from shared.errors import NotFoundError
from shared.events import derive_id
from shared.messaging import headers
from shared.messaging.bus import Bus
from shared.messaging.topology import DEAD_LETTER_PREFIX

STREAM = "DLQ"


@dataclass(frozen=True)
class DeadLetter:
    sequence: int
    """In the stream of dead letters: what `redrive` takes."""
    subject: str
    """Where the message came from and goes back to."""
    message_id: str
    service: str
    durable: str
    code: str
    error: str
    attempts: int
    trace_id: str
    failed_at: str
    """RFC 3339, UTC."""
    payload: bytes
    headers: Mapping[str, str]


@dataclass(frozen=True)
class Failure:
    """Why a message is given up."""

    code: str
    error: str
    attempts: int
    trace_id: str
    message_id: str
    durable: str


async def bury(bus: Bus, message: Msg, failure: Failure) -> None:
    """Stores the dead letter, once for one stored message and durable. Raises UnavailableError."""
    place = message.metadata
    fields = headers.without_broker_headers(message.headers or {})
    fields |= {
        headers.MESSAGE_ID: derive_id(f"{place.stream}:{place.sequence.stream}", f"dead:{failure.durable}"),
        headers.ORIGINAL_ID: failure.message_id,
        headers.DEAD_SUBJECT: message.subject,
        headers.DEAD_SERVICE: bus.service,
        headers.DEAD_DURABLE: failure.durable,
        headers.DEAD_CODE: failure.code,
        headers.DEAD_ERROR: headers.one_line(failure.error),
        headers.DEAD_ATTEMPTS: str(failure.attempts),
        headers.DEAD_TRACE: failure.trace_id,
        headers.DEAD_AT: bus.parts.clock.now().isoformat(),
    }
    if scheduler := (message.headers or {}).get(headers.SCHEDULER):
        fields[headers.BURIED_SCHEDULER] = headers.one_line(scheduler)
    await bus.store(f"{DEAD_LETTER_PREFIX}{message.subject}", message.data, fields)


async def list_dead_letters(bus: Bus, *, limit: int = 100) -> list[DeadLetter]:
    """Oldest first, at most `limit`."""
    found: list[DeadLetter] = []
    async for letter in _present(bus):
        found.append(letter)
        if len(found) >= limit:
            break
    return found


async def redrive(bus: Bus, message_seq: int | None = None) -> int:
    """Sends one dead letter (None: all present ones) back to its subject and removes it; returns how many went.

    The message keeps its original id, so effects that were already made are recognised. Who sends the same letter back at the same
    moment sends the same message, and one of both counts it. Raises NotFoundError."""
    if message_seq is not None:
        return int(await _send_back(bus, await _load(bus, message_seq)))
    return sum([await _send_back(bus, letter) async for letter in _present(bus)])


async def _present(bus: Bus) -> AsyncIterator[DeadLetter]:
    """Those that are there now, one at a time: each may hold a megabyte. One that somebody else removes meanwhile is passed over,
    and what comes, maybe back, is not among them."""
    last, sequence = (await bus.jetstream.stream_info(STREAM)).state.last_seq, 1
    while sequence <= last:
        try:
            stored = await bus.jetstream.get_msg(STREAM, sequence, subject=f"{DEAD_LETTER_PREFIX}>", next=True)
        except nats.js.errors.NotFoundError:
            return
        assert stored.seq is not None, "what is stored has a number"
        if stored.seq <= last:
            yield _letter(stored.seq, stored.subject or "", stored.data or b"", stored.headers or {})
        sequence = stored.seq + 1


async def _load(bus: Bus, sequence: int) -> DeadLetter:
    try:
        stored = await bus.jetstream.get_msg(STREAM, sequence)
    except nats.js.errors.NotFoundError as error:
        raise NotFoundError(f"there is no dead letter {sequence}; list them with `evoline bus dead`") from error
    return _letter(sequence, stored.subject or "", stored.data or b"", stored.headers or {})


async def _send_back(bus: Bus, letter: DeadLetter) -> bool:
    """False where somebody else did at the same moment."""
    fields = headers.without_broker_headers(letter.headers)
    fields[headers.ORIGINAL_ID] = letter.message_id
    fields[headers.MESSAGE_ID] = derive_id(letter.message_id, f"redrive:{letter.sequence}")
    await bus.store(letter.subject, letter.payload, fields)
    try:
        await bus.jetstream.delete_msg(STREAM, letter.sequence)
    except nats.js.errors.APIError:
        if await _is_present(bus, letter.sequence):
            raise
        return False
    return True


async def _is_present(bus: Bus, sequence: int) -> bool:
    try:
        await bus.jetstream.get_msg(STREAM, sequence)
    except nats.js.errors.NotFoundError:
        return False
    return True


def _letter(sequence: int, subject: str, payload: bytes, fields: Mapping[str, str]) -> DeadLetter:
    return DeadLetter(
        sequence=sequence,
        # Not the header: whoever may bury one subject's letters could have another's published by the one who sends them back.
        subject=subject.removeprefix(DEAD_LETTER_PREFIX),
        message_id=fields.get(headers.ORIGINAL_ID, ""),
        service=fields.get(headers.DEAD_SERVICE, ""),
        durable=fields.get(headers.DEAD_DURABLE, ""),
        code=fields.get(headers.DEAD_CODE, ""),
        error=fields.get(headers.DEAD_ERROR, ""),
        attempts=int(fields.get(headers.DEAD_ATTEMPTS, "0")),
        trace_id=fields.get(headers.DEAD_TRACE, ""),
        failed_at=fields.get(headers.DEAD_AT, ""),
        payload=payload,
        headers=dict(fields),
    )
