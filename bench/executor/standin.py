"""A provider that only takes time: `python -m bench.executor.standin DELAY_SECONDS` prints its port and answers as Anthropic does.

A call whose body holds `hold-this-call` waits until `POST /release`. `GET /state` tells `{served, in_flight, held}`."""

from __future__ import annotations

import asyncio
import json
import sys
from typing import cast

import uvloop

from tests.fakes import provider_wire as wire

HOLD = b"hold-this-call"


class Standin:
    def __init__(self, delay_seconds: float) -> None:
        self.delay_seconds = delay_seconds
        self.served = 0
        self.in_flight = 0
        self.held: list[Connection] = []
        asked = wire.Asked("anthropic", [{"role": "user", "text": "bench"}], None, stream=False, counting=False)
        self.answer = response(wire.answer(asked, wire.Answered(text="ok", model="standin-1")))

    def state(self) -> bytes:
        return response({"served": self.served, "in_flight": self.in_flight, "held": len(self.held)})

    def release(self) -> None:
        held, self.held = self.held, []
        for connection in held:
            connection.reply()


class Connection(asyncio.Protocol):
    """One request at a time, as the SDKs send them."""

    def __init__(self, standin: Standin) -> None:
        self._standin = standin
        self._buffer = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)

    def data_received(self, data: bytes) -> None:
        self._buffer += data
        head, end, body = self._buffer.partition(b"\r\n\r\n")
        if not end or len(body) < _content_length(head):
            return
        self._buffer = b""
        self._take(head, body)

    def connection_lost(self, error: Exception | None) -> None:
        if self in self._standin.held:
            self._standin.held.remove(self)
            self._standin.in_flight -= 1

    def reply(self) -> None:
        self._standin.in_flight -= 1
        self._standin.served += 1
        self._transport.write(self._standin.answer)

    def _take(self, head: bytes, body: bytes) -> None:
        if head.startswith(b"GET /state"):
            return self._transport.write(self._standin.state())
        if head.startswith(b"POST /release"):
            self._standin.release()
            return self._transport.write(self._standin.state())
        self._standin.in_flight += 1
        if HOLD in body:
            self._standin.held.append(self)
        else:
            asyncio.get_running_loop().call_later(self._standin.delay_seconds, self.reply)
        return None


def _content_length(head: bytes) -> int:
    for line in head.split(b"\r\n"):
        name, _, value = line.partition(b":")
        if name.lower() == b"content-length":
            return int(value)
    return 0


def response(value: object) -> bytes:
    body = json.dumps(value).encode()
    return b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n%s" % (len(body), body)


async def main(delay_seconds: float) -> None:
    standin = Standin(delay_seconds)
    server = await asyncio.get_running_loop().create_server(lambda: Connection(standin), "127.0.0.1", 0, backlog=4096)
    print(server.sockets[0].getsockname()[1], flush=True)
    await server.serve_forever()


if __name__ == "__main__":
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(main(float(sys.argv[1])))
