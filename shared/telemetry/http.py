"""`/metrics`, `/health` and `/ready` of one process, served from its own event loop."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import Awaitable, Callable, Iterator, Mapping
from dataclasses import dataclass

import uvicorn
from prometheus_client import CollectorRegistry
from prometheus_client.exposition import choose_encoder
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from shared.errors import ConfigurationError

_LISTEN_AGAIN_SECONDS = 0.1
CHECK_SECONDS = 3.0

Check = Callable[[], Awaitable[None]]
"""Returns where all is well, raises where not; the error's text is shown."""


@dataclass(frozen=True)
class Readiness:
    """Name of each check -> `ok`, or what is wrong."""

    checks: Mapping[str, str]

    @property
    def ready(self) -> bool:
        return all(answer == "ok" for answer in self.checks.values())


async def readiness(checks: Mapping[str, Check]) -> Readiness:
    """Asks all checks at once, each for at most 3 s."""
    answers = await asyncio.gather(*(_answer(check) for check in checks.values()))
    return Readiness(dict(zip(checks, answers, strict=True)))


async def _answer(check: Check) -> str:
    try:
        async with asyncio.timeout(CHECK_SECONDS):
            await check()
    except TimeoutError:
        return f"no answer within {CHECK_SECONDS:g} s"
    except Exception as error:
        return str(error) or type(error).__name__
    return "ok"


@dataclass(frozen=True)
class Probes:
    """What the endpoints tell about."""

    service: str
    version: str
    registry: CollectorRegistry
    checks: Mapping[str, Check]


def application(probes: Probes) -> Starlette:
    async def metrics(request: Request) -> Response:
        encode, content_type = choose_encoder(request.headers.get("accept", ""))
        return Response(encode(probes.registry), headers={"content-type": content_type})

    async def health(_: Request) -> Response:
        return JSONResponse({"status": "ok", "service": probes.service, "version": probes.version})

    async def ready(_: Request) -> Response:
        state = await readiness(probes.checks)
        body = {"ready": state.ready, "service": probes.service, "checks": dict(state.checks)}
        return JSONResponse(body, status_code=200 if state.ready else 503)

    return Starlette(routes=[Route("/metrics", metrics), Route("/health", health), Route("/ready", ready)])


class _Server(uvicorn.Server):
    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Leaves signals to the process, which stops consumers before it stops telling about them."""
        yield


class HttpServer:
    """`port` 0 takes any free one; `address` is known after `start`.

    `patience_seconds`: how long a taken port is tried again: a process that is just ending may hold it still."""

    def __init__(self, app: Starlette, *, host: str, port: int, patience_seconds: float = 0.0) -> None:
        self._app, self._host, self._port = app, host, port
        self._patience_seconds = patience_seconds
        self._server: _Server | None = None
        self._serving: asyncio.Task[None] | None = None
        self.address: tuple[str, int] = (host, port)

    async def start(self) -> None:
        """Raises ConfigurationError where the port is taken."""
        listener = await self._listening()
        self.address = listener.getsockname()[:2]
        config = uvicorn.Config(self._app, log_config=None, access_log=False, lifespan="off", timeout_graceful_shutdown=1)
        self._server = _Server(config)
        self._serving = asyncio.create_task(self._server.serve(sockets=[listener]))
        while not self._server.started:
            if self._serving.done():
                await self._serving
                raise ConfigurationError(f"HTTP did not start on {self._host}:{self._port}")
            await asyncio.sleep(0.005)

    async def stop(self) -> None:
        if self._server is None or self._serving is None:
            return
        self._server.should_exit = True
        await self._serving

    async def _listening(self) -> socket.socket:
        loop = asyncio.get_running_loop()
        give_up_at = loop.time() + self._patience_seconds
        while True:
            try:
                return self._listen()
            except ConfigurationError:
                if loop.time() >= give_up_at:
                    raise
            await asyncio.sleep(_LISTEN_AGAIN_SECONDS)

    def _listen(self) -> socket.socket:
        family = socket.AF_INET6 if ":" in self._host else socket.AF_INET
        listener = socket.socket(family, socket.SOCK_STREAM)
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listener.bind((self._host, self._port))
        except OSError as error:
            listener.close()
            raise ConfigurationError(
                f"cannot serve HTTP on {self._host}:{self._port}: {error.strerror or error}; "
                "set EVOLINE_HTTP_PORT to a free port, or to 0 for any"
            ) from error
        return listener
