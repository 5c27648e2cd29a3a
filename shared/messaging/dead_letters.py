"""What could not be handled: kept with its payload, error, attempts and trace, listed, and sent back with `redrive`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import nats.js.errors
from nats.aio.msg import Msg

from shared.errors import NotFoundError
from shared.events import derive_id
from shared.messaging import headers
from shared.messaging.bus import Bus
from shared.messaging.reader import StreamReader
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
    state = (await bus.jetstream.stream_info(STREAM)).state
    found: list[DeadLetter] = []
    if not state.messages:
        return found
    async with StreamReader(bus.client, STREAM, (f"{DEAD_LETTER_PREFIX}>",), state.first_seq) as reader:
        async for message in reader.messages():
            place = message.metadata
            found.append(_letter(place.sequence.stream, message.subject, message.data, message.headers or {}))
            if len(found) >= limit or place.num_pending == 0:
                break
    return found


async def redrive(bus: Bus, message_seq: int | None = None) -> int:
    """Sends one dead letter (None: all present ones) back to its subject and removes it; returns how many went.

    The message keeps its original id, so effects that were already made are recognised. Raises NotFoundError."""
    if message_seq is not None:
        await _send_back(bus, await _load(bus, message_seq))
        return 1
    letters = await list_dead_letters(bus, limit=1_000_000)
    for letter in letters:
        await _send_back(bus, letter)
    return len(letters)


async def _load(bus: Bus, sequence: int) -> DeadLetter:
    try:
        stored = await bus.jetstream.get_msg(STREAM, sequence)
    except nats.js.errors.NotFoundError as error:
        raise NotFoundError(f"there is no dead letter {sequence}; list them with `evoline bus dead`") from error
    return _letter(sequence, stored.subject or "", stored.data or b"", stored.headers or {})


async def _send_back(bus: Bus, letter: DeadLetter) -> None:
    fields = headers.without_broker_headers(letter.headers)
    fields[headers.ORIGINAL_ID] = letter.message_id
    fields[headers.MESSAGE_ID] = derive_id(letter.message_id, f"redrive:{letter.sequence}")
    await bus.store(letter.subject, letter.payload, fields)
    await bus.jetstream.delete_msg(STREAM, letter.sequence)


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
