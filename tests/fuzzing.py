"""Messages that no sender of ours would send, made from a seed, and a connection that sends anything byte for byte."""

from __future__ import annotations

import asyncio
import contextlib
import json
import random
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

from shared.events import Command, Message
from shared.messaging.catalogue.examples import example_of


@dataclass(frozen=True)
class Hostile:
    """Never a valid message of its subject. `header` is the raw block, version line included; empty: no headers."""

    kind: str
    subject: str
    body: bytes
    header: bytes = b""

    def frame(self) -> bytes:
        if not self.header:
            return b"PUB %s %d\r\n%s\r\n" % (self.subject.encode(), len(self.body), self.body)
        sizes = (self.subject.encode(), len(self.header), len(self.header) + len(self.body))
        return b"HPUB %s %d %d\r\n%s%s\r\n" % (*sizes, self.header, self.body)


def header_block(*lines: bytes, first: bytes = b"NATS/1.0") -> bytes:
    return b"".join(line + b"\r\n" for line in (first, *lines)) + b"\r\n"


class Fuzzer:
    """Endless hostile messages for one message class."""

    def __init__(self, message: type[Message], seed: int | str) -> None:
        self.message = message
        self.random = random.Random(f"{seed}:{message.subject}")
        self._number = 0
        text_like = [name for name, field in message.model_fields.items() if field.is_required() and _is_text(field.annotation)]
        self._required = text_like[0]
        self._example = example_of(message)
        bodies = [*_BODIES, *(_COMMAND_BODIES if issubclass(message, Command) else ())]
        self._kinds: list[tuple[str, Callable[[Fuzzer], Hostile]]] = [
            *((each.__name__, _with_body(each)) for each in bodies),
            *((each.__name__, _with_header(each)) for each in _HEADERS_OF_BAD_BODIES),
            *((each.__name__, _with_attributes(each)) for each in _ATTRIBUTES),
        ]

    def __iter__(self) -> Fuzzer:
        return self

    def __next__(self) -> Hostile:
        self._number += 1
        _, make = (
            self._kinds[self._number % len(self._kinds)] if self._number <= len(self._kinds) else self.random.choice(self._kinds)
        )
        return make(self)

    @property
    def required(self) -> str:
        """A field that must be there and be a text."""
        return self._required

    def valid(self) -> dict[str, Any]:
        return {**self._example, self._required: f"fuzz-{self._number}"}

    def with_required(self, raw: str) -> bytes:
        """A valid body, but for the raw JSON of one required field."""
        body = json.dumps({**self.valid(), self._required: "\x01"})
        return body.replace('"\\u0001"', raw).encode("utf-8", "surrogatepass")


def _is_text(annotation: Any) -> bool:
    return annotation is str or getattr(annotation, "__origin__", None) is str


def _with_body(make: Callable[[Fuzzer], bytes]) -> Callable[[Fuzzer], Hostile]:
    return lambda fuzzer: Hostile(make.__name__, fuzzer.message.subject, make(fuzzer))


def _with_header(make: Callable[[Fuzzer], bytes]) -> Callable[[Fuzzer], Hostile]:
    return lambda fuzzer: Hostile(make.__name__, fuzzer.message.subject, truncated(fuzzer), make(fuzzer))


def _with_attributes(make: Callable[[Fuzzer], bytes]) -> Callable[[Fuzzer], Hostile]:
    """A body that is right under headers that say that it is something else."""
    return lambda fuzzer: Hostile(make.__name__, fuzzer.message.subject, json.dumps(fuzzer.valid()).encode(), make(fuzzer))


# Bodies


def random_bytes(fuzzer: Fuzzer) -> bytes:
    return fuzzer.random.randbytes(fuzzer.random.randrange(0, 400))


def truncated(fuzzer: Fuzzer) -> bytes:
    body = json.dumps(fuzzer.valid()).encode()
    return body[: fuzzer.random.randrange(len(body))]


def flipped_byte(fuzzer: Fuzzer) -> bytes:
    """Its first byte, so that it can be no JSON object."""
    return bytes([fuzzer.random.choice([0, 1, 9, 0x5B, 0x7D, 0x80, 0xFF])]) + json.dumps(fuzzer.valid()).encode()[1:]


def not_an_object(fuzzer: Fuzzer) -> bytes:
    return fuzzer.random.choice([b"", b"null", b"[]", b"7", b'"text"', b"true", b"[[[[]]]]", b"{}", b" ", b"\xef\xbb\xbf{}"])


def missing_field(fuzzer: Fuzzer) -> bytes:
    body = fuzzer.valid()
    del body[fuzzer.required]
    return json.dumps(body).encode()


def wrong_type(fuzzer: Fuzzer) -> bytes:
    return fuzzer.with_required(fuzzer.random.choice(["null", "7", "1.5", "true", "[]", "{}", '["a"]', '{"a": {"b": []}}']))


def not_a_number(fuzzer: Fuzzer) -> bytes:
    return fuzzer.with_required(
        fuzzer.random.choice(["NaN", "Infinity", "-Infinity", "1e999999", "-1e-999999", "0x10", "+1", "01"])
    )


def huge_number(fuzzer: Fuzzer) -> bytes:
    return fuzzer.with_required("9" * fuzzer.random.choice([20, 400, 5_000, 10_000]))


def deeply_nested(fuzzer: Fuzzer) -> bytes:
    depth = fuzzer.random.choice([300, 1_000, 10_000])
    opening, closing = fuzzer.random.choice([("[", "]"), ('{"a":', "}")])
    return fuzzer.with_required(opening * depth + "1" + closing * depth)


def never_closed(fuzzer: Fuzzer) -> bytes:
    return fuzzer.with_required(fuzzer.random.choice(["[", '{"a":', '"', "[1,"]) * fuzzer.random.choice([1, 2_000]))


def bad_utf8(fuzzer: Fuzzer) -> bytes:
    return fuzzer.with_required('"~~"').replace(
        b"~~", fuzzer.random.choice([b"\xff", b"\xc3", b"\xed\xa0\x80", b"\xf8\x88\x80\x80"])
    )


def lone_surrogate(fuzzer: Fuzzer) -> bytes:
    return fuzzer.with_required(fuzzer.random.choice(['"\\ud800"', '"\\udfff\\ud800"', '"a\\ud83d"']))


def key_twice(fuzzer: Fuzzer) -> bytes:
    body = json.dumps(fuzzer.valid())
    return f'{body[:-1]}, "{fuzzer.required}": 7}}'.encode()


def other_encoding(fuzzer: Fuzzer) -> bytes:
    return json.dumps(fuzzer.valid()).encode(fuzzer.random.choice(["utf-16", "utf-32", "utf-16-be"]))


_BODIES = (
    random_bytes,
    truncated,
    flipped_byte,
    not_an_object,
    missing_field,
    wrong_type,
    not_a_number,
    huge_number,
    deeply_nested,
    never_closed,
    bad_utf8,
    lone_surrogate,
    key_twice,
    other_encoding,
)


def newer_field(fuzzer: Fuzzer) -> bytes:
    """What a later version of the sender may write: commands refuse what they do not know."""
    name = fuzzer.random.choice(["priority", "zz", "", "__class__", "x" * 10_000, "\x00", "ключ"])
    return json.dumps({**fuzzer.valid(), name: fuzzer.random.choice([1, None, {"a": [1]}, "x" * 10_000])}).encode()


def many_newer_fields(fuzzer: Fuzzer) -> bytes:
    return json.dumps({**fuzzer.valid(), **{f"{'f' * 100}{n}": n for n in range(120)}}).encode()


def bad_identifier(fuzzer: Fuzzer) -> bytes:
    bad = ["", " ", "../../etc/passwd", "a b", "x" * 5_000, "\u0000", "id\n", "<script>", "$where", ".hidden", "ид"]
    return fuzzer.with_required(json.dumps(fuzzer.random.choice(bad)))


_COMMAND_BODIES = (newer_field, many_newer_fields, bad_identifier)


# Headers of messages whose body is cut


def ids_twice(fuzzer: Fuzzer) -> bytes:
    ids = [b"Nats-Msg-Id: twice-%d-%d" % (fuzzer.random.getrandbits(60), n) for n in range(2)]
    return header_block(*ids, b"ce-type: one", b"ce-type: two", b"CE-TYPE: three")


def long_id(fuzzer: Fuzzer) -> bytes:
    return header_block(b"Nats-Msg-Id: %d-" % fuzzer.random.getrandbits(60) + b"i" * fuzzer.random.choice([300, 5_000, 20_000]))


def odd_names(fuzzer: Fuzzer) -> bytes:
    names = [b"a(b)", b"a b", b"", b"\xff\xfe", "ключ".encode(), b"a@b", b"a" * 3_000, b"\x01"]
    return header_block(*(name + b": 1" for name in fuzzer.random.sample(names, 4)))


def odd_values(fuzzer: Fuzzer) -> bytes:
    values = [b"\xff\xfe", b"\x00", b"a\rb", b"a\nb", "ü€😀".encode(), b"", b"v" * 4_000]
    return header_block(*(b"k%d: " % n + value for n, value in enumerate(fuzzer.random.sample(values, 4))))


def no_lines(fuzzer: Fuzzer) -> bytes:
    return header_block(fuzzer.random.choice([b"no colon here", b":", b"::::", b" folded", b"a:"]))


def status_line(fuzzer: Fuzzer) -> bytes:
    """As the broker itself would write it to end a request."""
    return header_block(
        first=fuzzer.random.choice(
            [b"NATS/1.0 408 Request Timeout", b"NATS/1.0 404", b"NATS/1.0 100 Idle Heartbeat", b"NATS/1.0 409 Consumer Deleted"]
        )
    )


def status_header(fuzzer: Fuzzer) -> bytes:
    return header_block(b"Status: %d" % fuzzer.random.choice([100, 404, 408, 409, 503]), b"Description: gone")


def odd_version_line(fuzzer: Fuzzer) -> bytes:
    lines = [
        b"NATS/9.9",
        b"HTTP/1.1 200 OK",
        b"",
        b"NATS/1.0 \xff\xfe\xfd broken",
        b"NATS/1.0 4",
        b"\x00" * 30,
        b"NATS/1.0 999 \xff",
    ]
    return header_block(b"a: b", first=fuzzer.random.choice(lines))


def not_even_headers(fuzzer: Fuzzer) -> bytes:
    return fuzzer.random.choice([b"X", b"NATS/1.0", b"NATS/1.0\r\n", b"\r\n", b"\r\n\r\n", b"\xff" * 13, b"NATS/1.0 "])


def false_trace(fuzzer: Fuzzer) -> bytes:
    traces = [b"00-" + b"0" * 32 + b"-" + b"0" * 16 + b"-00", b"\xff", b"00-zz-yy-01", b"1" * 2_000, b"-" * 500]
    return header_block(
        b"traceparent: " + fuzzer.random.choice(traces), b"tracestate: " + fuzzer.random.choice([b"=", b",,,=", b"a=b," * 900])
    )


def false_letter(fuzzer: Fuzzer) -> bytes:
    return header_block(
        b"Evoline-Message-Id: %d" % fuzzer.random.getrandbits(60) + fuzzer.random.choice([b"", b"i" * 9_000, b"\xff"]),
        b"Evoline-Dead-Attempts: many",
        b"Evoline-Dead-Subject: cmd.elsewhere",
        b"Evoline-Cause: " + b"c" * 3_000,
    )


_HEADERS_OF_BAD_BODIES = (
    ids_twice,
    long_id,
    odd_names,
    odd_values,
    no_lines,
    status_line,
    status_header,
    odd_version_line,
    not_even_headers,
    false_trace,
    false_letter,
)


# Attributes of messages whose body is right


def other_version(fuzzer: Fuzzer) -> bytes:
    return header_block(b"ce-specversion: " + fuzzer.random.choice([b"0.3", b"2.0", b"1", b"one", b"\xff"]))


def other_message(fuzzer: Fuzzer) -> bytes:
    types = [b"evoline.Nonsense", b"evoline.OrderPlaced", b"com.example.order", b"evoline.", b"x" * 2_000]
    return header_block(b"ce-specversion: 1.0", b"ce-type: " + fuzzer.random.choice(types))


def other_content(fuzzer: Fuzzer) -> bytes:
    types = [b"application/xml", b"text/plain", b"application/json+gzip", b"application/cloudevents+json", b"json"]
    return header_block(b"content-type: " + fuzzer.random.choice(types))


_ATTRIBUTES = (other_version, other_message, other_content)


class RawSender:
    """Speaks the broker's protocol itself, so that nothing is put right on the way."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer

    async def send(self, frames: Sequence[bytes]) -> None:
        """Returns when the broker has read them; its complaints are raised."""
        for frame in frames:
            self._writer.write(frame)
        self._writer.write(b"PING\r\n")
        await self._writer.drain()
        while not (line := await self._reader.readline()).startswith(b"PONG"):
            if line.startswith(b"PING"):
                self._writer.write(b"PONG\r\n")
            elif not line or line.startswith(b"-ERR"):
                raise ConnectionError(line.decode() or "the broker closed the connection")


@contextlib.asynccontextmanager
async def raw_sender(nats_url: str) -> AsyncIterator[RawSender]:
    address = urlsplit(nats_url)
    reader, writer = await asyncio.open_connection(address.hostname, address.port)
    try:
        writer.write(b'CONNECT {"verbose":false,"pedantic":false,"headers":true,"no_responders":true}\r\n')
        sender = RawSender(reader, writer)
        await sender.send([])
        yield sender
    finally:
        writer.close()
        with contextlib.suppress(ConnectionError):
            await writer.wait_closed()
