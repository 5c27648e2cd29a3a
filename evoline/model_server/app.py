"""HTTP: routes, limits, streams and clients that hang up."""

from __future__ import annotations

import asyncio
import json
import logging
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

from starlette.applications import Starlette
from starlette.datastructures import MutableHeaders
from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.routing import Route
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from evoline.model_server.chat import ChatAnswer, ChatRequest, RequestRefusedError
from evoline.model_server.engine import Engine
from evoline.model_server.formats import WireFormat
from evoline.model_server.formats.anthropic import AnthropicFormat
from evoline.model_server.formats.gemini import GeminiFormat
from evoline.model_server.generation import Call, Generation
from evoline.model_server.metrics import ModelServerMetrics

SERVED_BY = (b"x-served-by", b"evoline-model-server")
ANY_MODEL = "local"
GEMINI_ACTIONS = ("generateContent", "streamGenerateContent", "countTokens")
logger = logging.getLogger("evoline.model_server")


@dataclass(frozen=True)
class ServerOptions:
    name: str
    """The model's name in answers; requests may also say `local`."""
    max_waiting: int = 64
    max_body_bytes: int = 4_000_000


class ModelServer:
    """`open_engine` blocks for seconds and runs in a thread; until it is done, calls are told to come back."""

    def __init__(self, open_engine: Callable[[], Engine], options: ServerOptions) -> None:
        self._open_engine = open_engine
        self._options = options
        self._generation: Generation | None = None
        self._metrics = ModelServerMetrics()
        self._anthropic: WireFormat = AnthropicFormat()
        self._gemini: WireFormat = GeminiFormat()
        self.failure: Exception | None = None

    async def load(self) -> None:
        engine = await asyncio.to_thread(self._open_engine)
        self._generation = Generation(engine, self._options.max_waiting)
        self._metrics.watch(self._generation.slots)
        logger.info("ready: %s, %d slots of %d tokens", self._options.name, engine.slots, engine.context_tokens)

    def abandon_all(self) -> None:
        if self._generation:
            self._generation.abandon_all()

    def close(self) -> None:
        if self._generation:
            self._generation.close()

    def routes(self) -> list[Route]:
        return [
            Route("/health", self.health),
            Route("/metrics", self.metrics),
            Route("/v1/models", self.anthropic_models),
            Route("/v1beta/models", self.gemini_models),
            Route("/v1/messages", self.messages, methods=["POST"]),
            Route("/v1/messages/count_tokens", self.count_tokens, methods=["POST"]),
            Route("/{version}/models/{target:path}", self.gemini, methods=["POST"]),
        ]

    async def health(self, request: Request) -> Response:
        ready = self._generation is not None
        state = {"status": "ready" if ready else "loading", "model": self._options.name}
        return JSONResponse(state, status_code=200 if ready else 503)

    async def metrics(self, request: Request) -> Response:
        return Response(self._metrics.text(), media_type="text/plain; version=0.0.4")

    async def anthropic_models(self, request: Request) -> Response:
        name = self._options.name
        listed = {"type": "model", "id": name, "display_name": name, "created_at": "1970-01-01T00:00:00Z"}
        return JSONResponse({"data": [listed], "has_more": False, "first_id": name, "last_id": name})

    async def gemini_models(self, request: Request) -> Response:
        return JSONResponse({"models": [{"name": f"models/{self._options.name}", "supportedGenerationMethods": GEMINI_ACTIONS}]})

    async def messages(self, request: Request) -> Response:
        async def read() -> ChatRequest:
            body = await self._body(request)
            stream = isinstance(body, dict) and body.get("stream") is True
            self._check_model(str(body.get("model", "")) if isinstance(body, dict) else "")
            return self._anthropic.read(body, self._options.name, stream=stream)

        return await self._respond(request, self._anthropic, read)

    async def count_tokens(self, request: Request) -> Response:
        async def read() -> ChatRequest:
            body = await self._body(request)
            return self._anthropic.read(body, self._options.name, stream=False)

        return await self._respond(request, self._anthropic, read, counting=True)

    async def gemini(self, request: Request) -> Response:
        model, _, action = str(request.path_params["target"]).rpartition(":")

        async def read() -> ChatRequest:
            if action not in GEMINI_ACTIONS:
                raise RequestRefusedError("not_found", f"no such method: {action or request.url.path}")
            self._check_model(model)
            return self._gemini.read(await self._body(request), self._options.name, stream=action.startswith("stream"))

        return await self._respond(request, self._gemini, read, counting=action == "countTokens")

    async def _respond(self, request: Request, wire: WireFormat, read: Callable[[], Any], *, counting: bool = False) -> Response:
        """One call from request to response, counted by its outcome."""
        started, label = time.monotonic(), type(wire).__name__.removesuffix("Format").lower()
        outcome = "failed"
        try:
            chat: ChatRequest = await read()
            response = await self._answer(request, wire, chat, counting=counting)
            outcome = "ok"
        except RequestRefusedError as error:
            outcome = error.refusal
            status, body = wire.error(error)
            return JSONResponse(body, status_code=status)
        except ClientDisconnect:
            outcome = "disconnected"
            return Response(status_code=499)
        else:
            return response
        finally:
            self._metrics.ended(label, outcome, time.monotonic() - started)

    async def _answer(self, request: Request, wire: WireFormat, chat: ChatRequest, *, counting: bool) -> Response:
        generation = self._generation
        if generation is None:
            raise RequestRefusedError("overloaded", "the model is loading; try again in a moment")
        if counting:
            return JSONResponse(wire.count(await generation.count(chat)))
        if chat.stream:
            return await self._stream(generation, wire, chat)
        answer = await _unless_hung_up(request, generation.answer(chat, Call()))
        self._metrics.spent(answer.spent)
        return JSONResponse(wire.answer(answer, self._options.name))

    async def _stream(self, generation: Generation, wire: WireFormat, chat: ChatRequest) -> Response:
        """The status is sent with the first piece, so that a refused call still has its own."""
        loop, pieces = asyncio.get_running_loop(), asyncio.Queue[str | None]()
        call = Call(lambda piece: _put_soon(loop, pieces, piece))
        running = asyncio.ensure_future(generation.answer(chat, call))
        running.add_done_callback(lambda _: _put_soon(loop, pieces, None))
        first = await pieces.get()
        if first is None:
            answer = running.result()
            self._metrics.spent(answer.spent)
        return StreamingResponse(self._events(wire, first, pieces, running), media_type="text/event-stream")

    async def _events(
        self, wire: WireFormat, first: str | None, pieces: asyncio.Queue[str | None], running: asyncio.Future[ChatAnswer]
    ) -> AsyncIterator[bytes]:
        name = self._options.name
        try:
            for event in wire.opening_events(name):
                yield event
            if first is not None:
                yield wire.first_text_event()
            piece = first
            while piece is not None:
                yield wire.text_event(piece, name)
                piece = await pieces.get()
            for event in wire.closing_events(await running, name, text_was_sent=first is not None):
                yield event
        except RequestRefusedError as error:
            yield wire.error_event(error)
        finally:
            running.cancel()

    async def _body(self, request: Request) -> Any:
        received = bytearray()
        async for chunk in request.stream():
            received += chunk
            if len(received) > self._options.max_body_bytes:
                raise RequestRefusedError("too_large", f"the request is larger than {self._options.max_body_bytes} bytes")
        try:
            return json.loads(received)
        except ValueError as error:
            raise RequestRefusedError("invalid", f"the body is not valid JSON: {error}") from error

    def _check_model(self, wanted: str) -> None:
        if wanted not in {self._options.name, ANY_MODEL}:
            message = f"model: {wanted or '(none)'} is not served here; this server has {self._options.name} (or say {ANY_MODEL})"
            raise RequestRefusedError("not_found", message)


def _put_soon(loop: asyncio.AbstractEventLoop, pieces: asyncio.Queue[str | None], piece: str | None) -> None:
    """From any thread; all go the same way, so that the end comes after the last piece."""
    loop.call_soon_threadsafe(pieces.put_nowait, piece)


async def _unless_hung_up(request: Request, answering: Any) -> ChatAnswer:
    """The answer; raises `ClientDisconnect` and frees the slot when the client goes first."""
    running = asyncio.ensure_future(answering)
    watching = asyncio.ensure_future(_hung_up(request))
    try:
        await asyncio.wait({running, watching}, return_when=asyncio.FIRST_COMPLETED)
        if not running.done():
            raise ClientDisconnect
        answer: ChatAnswer = running.result()
        return answer
    finally:
        for task in (running, watching):
            task.cancel()


async def _hung_up(request: Request) -> None:
    while (await request.receive())["type"] != "http.disconnect":
        pass


class ServedByHeader:
    """Every answer says that it comes from here, so that adapters never take it for a provider's."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async def send_marked(message: Message) -> None:
            if message["type"] == "http.response.start":
                MutableHeaders(scope=message).append(*(part.decode() for part in SERVED_BY))
            await send(message)

        await self._app(scope, receive, send_marked)


def create_app(server: ModelServer, on_failure: Callable[[], None]) -> ASGIApp:
    """Loads in the background, so that `/health` can say so; `on_failure` is called when the model cannot be opened."""

    async def load() -> None:
        try:
            await server.load()
        except Exception as error:  # the process ends with it, see `on_failure`
            server.failure = error
            on_failure()

    @asynccontextmanager
    async def lifespan(_: Starlette) -> AsyncIterator[None]:
        loading = asyncio.create_task(load())
        yield
        await loading
        server.close()

    return ServedByHeader(Starlette(routes=server.routes(), lifespan=lifespan))
