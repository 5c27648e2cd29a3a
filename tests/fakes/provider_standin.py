"""A local HTTP server that speaks the wire formats of Anthropic and Gemini, for the real SDKs, with faults on demand.

    standin.answer = lambda messages, schema: {"label": "positive"}     # a fast deterministic model
    standin.script(status(429, retry_after="7"), text("hello"))          # the next answers, in order; then `answer`

`messages` is a list of `{"role": "system" | "user" | "assistant", "text": str}`; `schema` the JSON Schema asked for, or None.
"""

from __future__ import annotations

import contextlib
import json
import select
import socket
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

from tests.fakes import provider_wire as wire
from tests.fakes.provider_batches import BATCHES, StandinBatches
from tests.fakes.provider_replies import FAULTS, MODEL, Reply, answered, error_amid, fault, slow, status, text, tool_call

__all__ = ["ProviderStandin", "Reply", "error_amid", "fault", "provider_standin", "slow", "status", "text", "tool_call"]

PIECE_SECONDS = 0.05


@dataclass(frozen=True)
class Received:
    path: str
    headers: dict[str, str]
    body: dict[str, Any]


Answer = Callable[[list[dict[str, str]], dict[str, Any] | None], "str | dict[str, Any] | Reply"]


def echo(messages: list[dict[str, str]], schema: dict[str, Any] | None) -> str | dict[str, Any]:
    """Without a schema the last message; with one the smallest value that fits a plain schema."""
    return messages[-1]["text"] if schema is None else wire.smallest_value(schema)


def _chunk(data: bytes) -> bytes:
    return f"{len(data):x}\r\n".encode() + data + b"\r\n"


class ProviderStandin:
    """`requests` are all generation and counting calls so far; `disconnects` how often a client hung up before its answer."""

    def __init__(self) -> None:
        self.answer: Answer = echo
        self.served_by = ""
        """Value of the header `x-served-by`: set to the local model server's name to play it."""
        self.batches = StandinBatches()
        """Anthropic's batch interface."""
        self.requests: list[Received] = []
        self.disconnects = 0
        self.stopping = threading.Event()
        self._script: deque[Reply] = deque()
        self._lock = threading.Lock()
        self._server = _Server(("127.0.0.1", 0), _Handler)
        self._server.standin = self
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
        self._thread.start()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._server.server_address[1]}"

    @property
    def calls(self) -> int:
        return len(self.requests)

    def script(self, *replies: Reply) -> None:
        with self._lock:
            self._script.extend(replies)

    def stop(self) -> None:
        self.stopping.set()
        self._server.shutdown()
        self._server.server_close()
        self._thread.join(timeout=5)

    def next_reply(self, asked: wire.Asked, received: Received) -> Reply:
        with self._lock:
            self.requests.append(received)
            if self._script:
                return self._script.popleft()
        return self.reply_to(asked)

    def reply_to(self, asked: wire.Asked) -> Reply:
        value = self.answer(asked.messages, asked.schema)
        if isinstance(value, Reply):
            return value
        return text(value if isinstance(value, str) else json.dumps(value, ensure_ascii=False))

    def count_disconnect(self) -> None:
        with self._lock:
            self.disconnects += 1


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 128
    standin: ProviderStandin

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Clients of this server hang up on purpose; everything else fails the test by its missing answer."""


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: _Server

    def log_message(self, format: str, *arguments: Any) -> None:
        return

    def do_GET(self) -> None:
        if self.path.startswith(BATCHES):
            return self._batch_call({})
        return self._send(200, wire.models(self.path, MODEL))

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers.get("content-length") or 0)) or b"{}")
        if self.path.startswith(BATCHES):
            return self._batch_call(body)
        asked = wire.read(self.path, body)
        standin = self.server.standin
        reply = standin.next_reply(asked, Received(self.path, {k.lower(): v for k, v in self.headers.items()}, body))
        if reply.kind == "status":
            return self._send(reply.status, wire.error(asked, reply.status, reply.text), reply.retry_after)
        if reply.kind == "hang":
            return self._stall(drip=False)
        if asked.counting and reply.kind not in FAULTS:
            return self._send(200, wire.count(asked))
        if asked.stream:
            return self._stream(asked, reply)
        return self._whole(asked, reply)

    def _batch_call(self, body: dict[str, Any]) -> None:
        standin = self.server.standin
        fault = standin.batches.next_fault()
        happens = fault is None or fault.kind == "cut"
        code, answer = standin.batches.call(self.command, self.path, body, standin) if happens else (200, b"")
        if fault is None:
            return self._send_bytes(code, answer)
        if fault.kind == "status":
            return self._send(fault.status, wire.anthropic_error(fault.status, fault.text), fault.retry_after)
        if fault.kind == "invalid_json":
            return self._send_bytes(200, b'{"id": "msgbatch_')
        if fault.kind == "wrong_shape":
            return self._send(200, {"unexpected": True})
        if fault.kind == "hang":
            return self._stall(drip=False)
        self._head(200, "application/json", {"content-length": str(len(answer) + 10)})
        return self._cut(answer[: len(answer) // 2])

    def _whole(self, asked: wire.Asked, reply: Reply) -> None:
        if reply.kind == "drip":
            self._head(200, "application/json", {"content-length": "1000000"})
            return self._stall(drip=True)
        if reply.kind == "cut":
            self._head(200, "application/json", {"content-length": "1000"})
            return self._cut(b'{"id": ')
        if reply.kind == "invalid_json":
            return self._send_bytes(200, b'{"id": "msg_1", "content": [')
        if reply.kind == "wrong_shape":
            return self._send(200, {"unexpected": True})
        body = json.dumps(wire.answer(asked, answered(reply))).encode()
        if reply.kind != "slow":
            return self._send_bytes(200, body)
        self._head(200, "application/json", {"content-length": str(len(body))})
        return self._pieces([body[start : start + 100] for start in range(0, len(body), 100)], PIECE_SECONDS)

    def _stream(self, asked: wire.Asked, reply: Reply) -> None:
        """Chunked as providers send it, so that a cut is no end."""
        self._head(200, "text/event-stream", {"transfer-encoding": "chunked"})
        if reply.kind == "wrong_shape":
            return self._pieces([_chunk(wire.wrong_event(asked)), b"0\r\n\r\n"])
        events = [_chunk(event) for event in wire.events(asked, answered(reply))]
        if reply.kind not in FAULTS:
            return self._pieces([*events, b"0\r\n\r\n"], PIECE_SECONDS if reply.kind == "slow" else 0.0)
        self._pieces(events[: max(1, len(events) // 2)])
        if reply.kind == "drip":
            return self._stall(drip=True)
        if reply.kind == "cut":
            return self._cut(b"40\r\nevent: ")
        broken = wire.error_event(asked, reply.tool, reply.text) if reply.kind == "error" else wire.invalid_event(asked)
        return self._pieces([_chunk(broken), b"0\r\n\r\n"])

    def _pieces(self, pieces: list[bytes], seconds: float = 0.0) -> None:
        for piece in pieces:
            time.sleep(seconds)
            self.wfile.write(piece)
            self.wfile.flush()

    def _send(self, code: int, value: dict[str, Any], retry_after: str = "") -> None:
        self._send_bytes(code, json.dumps(value).encode(), retry_after)

    def _send_bytes(self, code: int, data: bytes, retry_after: str = "") -> None:
        self._head(
            code, "application/json", {"content-length": str(len(data))} | ({"retry-after": retry_after} if retry_after else {})
        )
        self.wfile.write(data)

    def _head(self, code: int, content_type: str, headers: dict[str, str]) -> None:
        self.send_response(code)
        served_by = {"x-served-by": self.server.standin.served_by} if self.server.standin.served_by else {}
        for name, value in ({"content-type": content_type} | headers | served_by).items():
            self.send_header(name, value)
        self.end_headers()

    def _cut(self, first: bytes) -> None:
        self.wfile.write(first)
        self.wfile.flush()
        self.connection.shutdown(socket.SHUT_RDWR)
        self.close_connection = True

    def _stall(self, *, drip: bool) -> None:
        """Until the client hangs up, which is counted, or this server stops."""
        self.close_connection = True
        while not self.server.standin.stopping.is_set():
            if self._client_hung_up():
                self.server.standin.count_disconnect()
                break
            if drip:
                self._drip()

    def _client_hung_up(self) -> bool:
        readable, _, _ = select.select([self.connection], [], [], 0.05)
        try:
            return bool(readable) and not self.connection.recv(1, socket.MSG_PEEK)
        except ConnectionError:
            return True

    def _drip(self) -> None:
        with contextlib.suppress(OSError):  # the look for a hang-up above says why
            self.wfile.write(b"0")


@pytest.fixture
def provider_standin() -> Iterator[ProviderStandin]:
    standin = ProviderStandin()
    yield standin
    standin.stop()
