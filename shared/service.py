"""What every service's process is made of: one host of connections, a start in order, readiness, a stop within seconds.

Exit codes: 0 stopped on request, 1 broke while running, 2 cannot work as it is set up.
"""

from __future__ import annotations

import asyncio
import gc
import os
import signal
import sys
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from importlib.metadata import version
from typing import Any, NoReturn

import structlog
import uvloop
from prometheus_client import CollectorRegistry
from pydantic import ValidationError

from shared.background import Background, Rounds, Work
from shared.clock import Clock, SystemClock
from shared.ending import end_tasks
from shared.errors import ConfigurationError, EvolineError, UnavailableError
from shared.messaging.bus import Bus, BusParts
from shared.messaging.consumer import Consumer
from shared.settings import SharedSettings
from shared.storage.collection import Database
from shared.storage.mongo import DeniedError, MongoStore
from shared.storage.mongo import connect as connect_store
from shared.telemetry.http import Check, HttpServer, Probes, application
from shared.telemetry.logging import configure_logging
from shared.telemetry.metrics import Metrics
from shared.telemetry.redaction import redact_text
from shared.telemetry.tracing import Tracing

STOP_SECONDS = 4.5
PORT_SECONDS = 3.0
"""How long a port that is taken may still be given free."""
GRACE_SECONDS = 2.0
"""What handlers in flight may still use after a stop was asked for."""
VERSION = version("evoline")


@dataclass
class Host:
    """What a service's `register` builds its adapters from."""

    name: str
    settings: Any
    """The service's own settings class, a `SharedSettings`."""
    clock: Clock
    bus: Bus
    consumer: Consumer
    mongo: MongoStore
    metrics: Metrics
    tracing: Tracing
    checks: dict[str, Check] = field(default_factory=dict)
    """Readiness checks by name; add what else the service needs to work."""
    background: dict[str, Rounds] = field(default_factory=dict)
    closers: list[Work] = field(default_factory=list)

    @property
    def database(self) -> Database:
        """The service's own."""
        return self.mongo.database(f"evoline_{self.name}")

    def run_in_background(self, name: str, work: Rounds) -> None:
        """Runs `work` from start to stop. What ends with a `TransientError` begins again after a pause, and the service is not
        ready until the work says that it went well; if it ends or fails otherwise, the process ends with code 1. It is cancelled
        at the stop."""
        self.background[name] = work

    def on_stop(self, close: Work) -> None:
        """Called after the consumers have stopped, last registered first."""
        self.closers.append(close)


Register = Callable[[Host], Awaitable[None]]


class Application:
    """One service: `register` gets the host, builds adapters and registers subscriptions. Works once: start, then stop."""

    def __init__(self, name: str, settings: SharedSettings, register: Register, *, clock: Clock | None = None) -> None:
        self.name = name
        self.settings = settings
        self._register = register
        self._clock = clock or SystemClock()
        self._ended = asyncio.Event()
        self._fault = ""
        self._stopping = False
        self._tasks: list[asyncio.Task[None]] = []
        self._undo: list[tuple[str, Work]] = []
        self._log = structlog.get_logger("shared.service").bind(service=name)
        self.host: Host | None = None
        self.http_address: tuple[str, int] = ("", 0)

    async def start(self) -> None:
        """Connects, registers, consumes, serves. Raises ConfigurationError with what is missing, where and what to do."""
        try:
            await self._start()
        except BaseException:
            await self.stop()
            raise
        host, port = self.http_address
        self._log.info("service started", http=f"http://{host}:{port}", version=VERSION)

    async def stop(self) -> None:
        """Undoes the start in reverse order; no step keeps another from being done."""
        self._stopping = True
        for what, undo in reversed(self._undo):
            try:
                await undo()
            except Exception as error:
                self._log.warning("not stopped cleanly", what=what, error=str(error))
        self._undo.clear()

    async def run_forever(self) -> int:
        """Runs until SIGTERM, SIGINT or a fault; returns the exit code."""
        loop = asyncio.get_running_loop()
        for signal_number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(signal_number, self._ended.set)
        starting = asyncio.ensure_future(self.start())
        ended = asyncio.ensure_future(self._ended.wait())
        await asyncio.wait({starting, ended}, return_when=asyncio.FIRST_COMPLETED)
        if not starting.done():
            starting.cancel()
            await asyncio.gather(starting, return_exceptions=True)
            return 0
        await starting
        keep_loaded_objects()
        await ended
        return await self._end()

    def fail(self, reason: str) -> None:
        """Ends the process with code 1: for faults that no retry mends."""
        if not self._stopping:
            self._fault = self._fault or reason
            self._ended.set()

    async def _end(self) -> int:
        self._log.info("service stops", reason=self._fault or "asked to")
        try:
            async with asyncio.timeout(STOP_SECONDS):
                await self.stop()
        except TimeoutError:
            self._log.warning("service stopped hard: what was in flight is delivered again")
        return 1 if self._fault else 0

    async def _start(self) -> None:
        tracing = Tracing(service=self.name, version=VERSION, endpoint=self.settings.otlp_endpoint)
        self._undo.append(("tracing", tracing.close))
        metrics = Metrics(CollectorRegistry(), service=self.name, version=VERSION)
        parts = BusParts(clock=self._clock, tracer=tracing.tracer("evoline.messaging"), observer=metrics.bus)
        bus = await Bus.connect(self.settings, service=self.name, parts=parts, on_closed=self._on_bus_closed)
        self._undo.append(("bus", bus.close))
        mongo = await self._connect_store()
        host = self.host = Host(
            name=self.name,
            settings=self.settings,
            clock=self._clock,
            bus=bus,
            consumer=Consumer(bus, self.settings, on_closed=self._on_bus_closed),
            mongo=mongo,
            metrics=metrics,
            tracing=tracing,
        )
        self._undo.append(("closers", self._run_closers))
        host.checks |= {"broker": bus.check, "consumers": host.consumer.check, "store": mongo.ping, "running": self._check_running}
        await self._register(host)
        await self._take_up_work(host)

    async def _take_up_work(self, host: Host) -> None:
        self._undo.append(("consumer", lambda: host.consumer.stop(GRACE_SECONDS)))
        await host.consumer.start()
        self._undo.append(("background", self._cancel_background))
        background = Background(self._clock, fail=self.fail, begun_again=host.metrics.background.begun_again)
        host.checks["background"] = background.check
        self._tasks = [asyncio.create_task(background.run(name, work), name=name) for name, work in host.background.items()]
        probes = Probes(service=self.name, version=VERSION, registry=host.metrics.registry, checks=host.checks)
        server = HttpServer(
            application(probes), host=self.settings.http_host, port=self.settings.http_port, patience_seconds=PORT_SECONDS
        )
        await server.start()
        self._undo.insert(0, ("http", server.stop))
        self.http_address = server.address

    async def _connect_store(self) -> MongoStore:
        mongo = connect_store(self.settings.mongo_url, user=self.settings.mongo_user, password=self.settings.mongo_password)

        async def close() -> None:
            mongo.close()

        self._undo.append(("store", close))
        try:
            await mongo.ping()
        except DeniedError as error:
            user = self.settings.mongo_user or "nobody"
            raise ConfigurationError(
                f"MongoDB does not let {user} in: {error}; "
                "give the service's own EVOLINE_MONGO_USER and EVOLINE_MONGO_PASSWORD_FILE"
            ) from error
        except UnavailableError as error:
            place = redact_text(self.settings.mongo_url.get_secret_value())
            raise ConfigurationError(
                f"no MongoDB answers at {place}: {redact_text(str(error))[:300]}; "
                "start one with `evoline up`, or set EVOLINE_MONGO_URL"
            ) from error
        return mongo

    async def _check_running(self) -> None:
        if self._stopping:
            raise UnavailableError("the service is stopping")

    async def _on_bus_closed(self) -> None:
        self.fail("the connection to the broker was closed for good")

    async def _cancel_background(self) -> None:
        await end_tasks(*self._tasks)

    async def _run_closers(self) -> None:
        assert self.host is not None
        for close in reversed(self.host.closers):
            await close()


def keep_loaded_objects() -> None:
    """Takes all objects there are out of the garbage collector's walks: modules and their classes stay for ever, and with the
    providers' SDKs loaded a walk over them stops the event loop for a quarter of a second."""
    gc.freeze()


CreateApp = Callable[[], Application]


def run_service(create_app: CreateApp) -> int:
    """Runs one service in this process until it is told to stop; returns the exit code."""
    try:
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            code = runner.run(_run(create_app))
            sys.stdout.flush()
            sys.stderr.flush()
            # Threads of libraries that are still busy must not hold up a stop.
            os._exit(code)
    except ValidationError as error:
        return _complain("settings", "; ".join(_setting(fault) for fault in error.errors()))
    except EvolineError as error:
        return _complain("start", str(error))


async def _run(create_app: CreateApp) -> int:
    app = create_app()
    configure_logging(app.settings, service=app.name)
    return await app.run_forever()


def main(create_app: CreateApp) -> NoReturn:
    sys.exit(run_service(create_app))


def _setting(fault: Any) -> str:
    name = "EVOLINE_" + "_".join(str(part) for part in fault["loc"]).upper()
    return f"{name}: {fault['msg']}"


def _complain(stage: str, reason: str) -> int:
    sys.stderr.write(f"cannot run ({stage}): {redact_text(reason)}\n")
    return 2
