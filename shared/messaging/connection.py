"""Opening a client of the broker: bounded at the start, endless afterwards, loud when it closes for good."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import nats
import structlog
from nats.aio.client import Client
from nats.aio.transport import TcpTransport

from shared.errors import ConfigurationError
from shared.messaging.denials import Denials
from shared.messaging.server_users import public_key
from shared.settings import SharedSettings

CONNECT_SECONDS = 5.0
PUBLISH_SECONDS = 5.0
"""How long one try of a publish or an API call waits for the broker."""

_REFUSED = "Authorization Violation"


class BusClient(Client):
    """A client that knows what the broker denied it."""

    denials: Denials


OnClosed = Callable[[], Awaitable[None]]


def inbox_prefix(settings: SharedSettings) -> str:
    """Private to the user, so that nobody else may listen to the answers."""
    return f"_INBOX.{settings.nats_user}" if settings.nats_user else "_INBOX"


def redacted(url: str) -> str:
    scheme, _, rest = url.rpartition("://")
    return f"{scheme}://{rest.rpartition('@')[2]}" if scheme else rest.rpartition("@")[2]


async def open_client(settings: SharedSettings, *, name: str, on_closed: OnClosed | None = None) -> Client:
    """Raises ConfigurationError where no server answers or it refuses the credentials within 5 s."""
    faults = ConnectionLog(name, settings.nats_user, settings.nats_seed_file)
    client = BusClient()
    client.denials = faults.denials
    faults.opening = client
    try:
        await asyncio.wait_for(client.connect(**client_options(settings, name, faults, on_closed)), CONNECT_SECONDS)
        faults.client, faults.opening = client, None
        tolerate_broken_headers(client)
        return client
    except (TimeoutError, OSError, nats.errors.Error) as error:
        await _abandon(client)
        raise ConfigurationError(
            f"no NATS server at {redacted(settings.nats_url)}: {faults.last or error or 'no answer'}; "
            "start one with `evoline up`, or set EVOLINE_NATS_URL (and EVOLINE_NATS_USER with EVOLINE_NATS_SEED_FILE or _PASSWORD)"
        ) from error


async def _abandon(client: Client) -> None:
    """Closes what a try to connect left open."""
    with contextlib.suppress(nats.errors.Error, OSError):
        await client.close()
    _close_transport(client)


def _close_transport(client: Client) -> None:
    if client._transport is not None:
        client._transport.close()  # type: ignore[no-untyped-call]


def _cut(client: Client) -> None:
    """Drops the connection with what a server that reads no more did not take: closing it would wait for that for ever."""
    if isinstance(client._transport, TcpTransport) and client._transport._io_writer is not None:
        client._transport._io_writer.transport.abort()


def tolerate_broken_headers(client: Client) -> None:
    """Reads headers that cannot be read as none. The client's own reader raises out of its read loop: one stored message with such
    headers would cut the connection at each of its deliveries, for ever (nats-py 2.16, `_process_headers`)."""
    read: Callable[[bytes], Awaitable[dict[str, str] | None]] = client._process_headers

    async def read_or_none(raw: bytes) -> dict[str, str] | None:
        try:
            return await read(raw)
        except (IndexError, ValueError):
            return None

    client._process_headers = read_or_none  # type: ignore[assignment,method-assign]


def client_options(settings: SharedSettings, name: str, faults: ConnectionLog, on_closed: OnClosed | None) -> dict[str, Any]:
    options: dict[str, Any] = {
        "servers": [settings.nats_url],
        "name": f"evoline-{name}",
        "inbox_prefix": inbox_prefix(settings).encode(),
        "max_reconnect_attempts": -1,
        "reconnect_time_wait": 0.25,
        "connect_timeout": 2,
        "ping_interval": 10,
        "max_outstanding_pings": 2,
        "drain_timeout": 3,
        "error_cb": faults.on_error,
        "disconnected_cb": faults.on_disconnected,
        "reconnected_cb": faults.on_reconnected,
    }
    if on_closed:
        options["closed_cb"] = on_closed
    if settings.nats_seed_file:
        options["nkeys_seed_str"] = read_seed(settings.nats_seed_file)
    elif settings.nats_user:
        options |= {"user": settings.nats_user, "password": settings.nats_password.get_secret_value()}
    return options


def read_seed(path: Path) -> str:
    """The private key of the user. Raises ConfigurationError where there is none that can be used."""
    try:
        seed = path.read_bytes().strip()
        public_key(seed)
    except (OSError, ValueError) as error:
        reason = (error.strerror or "unreadable") if isinstance(error, OSError) else str(error)
        raise ConfigurationError(
            f"EVOLINE_NATS_SEED_FILE: {path}: {reason}; make the secrets with `evoline secrets create`"
        ) from error
    return seed.decode()


class ConnectionLog:
    """Keeps the last fault of a connection, a refusal of the credentials above others, and logs each change once.

    Denied permissions are heard nowhere else: `denials` tells those who wait."""

    def __init__(self, name: str, user: str = "", seed_file: Path | None = None) -> None:
        self.last = ""
        self.denials = Denials(user)
        self._seed_file = seed_file
        self.opening: Client | None = None
        """While it is being opened; one that is refused tries no further."""
        self.client: Client | None = None
        """Set once connected; tells an orderly end from a fault."""
        self._log = structlog.get_logger("shared.messaging").bind(connection=name)

    async def on_error(self, error: Exception) -> None:
        self.denials.note(error)
        text = str(error) or type(error).__name__
        if _REFUSED in text:
            self._on_refused()
        if text == self.last or _REFUSED in self.last:
            return
        self.last = text
        self._log.warning("bus connection fault", error=text)

    def _on_refused(self) -> None:
        """A key that was replaced while this process ran is used at its next try to connect: nothing need be restarted."""
        if refused := self.opening or self.client:
            _close_transport(refused)  # the client's next try would leave it open
        if self.opening is not None:
            self.opening.options["allow_reconnect"] = False
        if self.client is not None and self._seed_file is not None:
            with contextlib.suppress(ConfigurationError):
                self.client._nkeys_seed_str = read_seed(self._seed_file)
                self.client._setup_nkeys_connect()

    async def on_disconnected(self) -> None:
        if self.client is None or not (self.client.is_draining or self.client.is_closed):
            self._log.warning("bus disconnected, reconnecting")

    async def on_reconnected(self) -> None:
        self.last = ""
        self._log.info("bus reconnected")


async def close_client(client: Client, timeout_seconds: float = 3.0) -> None:
    """Flushes what was said and closes; gives up politeness where the server is gone or stalled, after twice `timeout_seconds`, and
    at once where it is cancelled."""
    try:
        async with asyncio.timeout(timeout_seconds):
            if not client.is_closed:
                await client.drain()
    except (TimeoutError, OSError, nats.errors.Error):
        await _close_at_once(client, timeout_seconds)
    except asyncio.CancelledError:
        _cut(client)
        await _close_at_once(client, timeout_seconds)
        raise
    finally:
        # The client calls itself closed before it closes the connection: what interrupts it in between leaves that open.
        _cut(client)
        _end_loops(client)


async def _close_at_once(client: Client, timeout_seconds: float) -> None:
    """A client that is not closed connects again when its connection is cut."""
    with contextlib.suppress(TimeoutError, OSError, nats.errors.Error):
        async with asyncio.timeout(timeout_seconds):
            await client.close()


def _end_loops(client: Client) -> None:
    """Those that an interrupted close left running."""
    for loop in (client._reading_task, client._ping_interval_task, client._flusher_task, client._reconnection_task):
        if loop is not None and not loop.done() and loop is not asyncio.current_task():
            loop.cancel()
