"""Leaving a broker that reads no more: bounded, and nothing stays open."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import Iterator
from pathlib import Path

import nats
import pytest
from nats.aio.client import Client
from nats.aio.msg import Msg
from nats.aio.transport import TcpTransport

from shared.ending import end_tasks
from shared.messaging.connection import close_client
from tests.eventually import eventually
from tests.servers import nats_server

MORE_THAN_SOCKETS_HOLD = 80 * [b"a" * 100_000]


@pytest.fixture
def broker(tmp_path: Path) -> Iterator[tuple[str, int]]:
    """Address and process id."""
    pid_file = tmp_path / "nats.pid"
    with nats_server(tmp_path, extra=f'pid_file: "{pid_file}"\n') as url:
        pid = int(pid_file.read_text())
        yield url, pid
        os.kill(pid, signal.SIGCONT)


async def stalled(client: Client, pid: int) -> asyncio.WriteTransport:
    """The connection of a client that has said more than the broker will read."""
    os.kill(pid, signal.SIGSTOP)
    for payload in MORE_THAN_SOCKETS_HOLD:
        await client.publish("unheard", payload)
    assert isinstance(client._transport, TcpTransport) and client._transport._io_writer is not None
    connection = client._transport._io_writer.transport
    await eventually(lambda: connection.get_write_buffer_size() > 0)
    return connection


async def test_a_client_with_much_unsaid_leaves_a_stalled_broker(broker: tuple[str, int]) -> None:
    url, pid = broker
    client = await nats.connect(url, pending_size=10_000_000)
    connection = await stalled(client, pid)
    async with asyncio.timeout(20):
        await close_client(client, 0.3)
    assert client.is_closed
    assert connection.is_closing()
    assert connection.get_write_buffer_size() == 0


async def closed_but_cancelled_after(turns: int, url: str) -> bool:
    """Cancels a close after so many turns of the loop, however often that takes; False where it had ended by itself."""
    client = await nats.connect(url, max_reconnect_attempts=-1, reconnect_time_wait=0.01)
    await client.subscribe("heard", cb=_dropped)
    assert isinstance(client._transport, TcpTransport) and client._transport._io_writer is not None
    connection = client._transport._io_writer.transport
    await client.publish("heard", b"said last")
    closing = asyncio.create_task(close_client(client))
    for _ in range(turns):
        await asyncio.sleep(0)
    was_cancelled = not closing.done()
    await end_tasks(closing)
    await eventually(lambda: not loops_of_clients(), 5)
    assert client.is_closed, f"cancelled after {turns} turns"
    assert connection.is_closing(), f"cancelled after {turns} turns"
    return was_cancelled


def loops_of_clients() -> list[asyncio.Task[object]]:
    """Those that read, write, ping and connect again."""
    return [task for task in asyncio.all_tasks() if getattr(task.get_coro(), "__qualname__", "").startswith("Client.")]


async def _dropped(_: Msg) -> None:
    return None


async def test_a_close_that_is_cancelled_at_any_moment_leaves_no_connection_and_no_loop(broker: tuple[str, int]) -> None:
    url, _ = broker
    turns = 1
    while await closed_but_cancelled_after(turns, url):
        turns += 3
    assert turns > 5


async def test_a_close_that_is_cancelled_while_the_broker_stalls_does_not_connect_again(broker: tuple[str, int]) -> None:
    url, pid = broker
    client = await nats.connect(url, max_reconnect_attempts=-1, reconnect_time_wait=0.01, pending_size=10_000_000)
    connection = await stalled(client, pid)
    closing = asyncio.create_task(close_client(client, 5.0))
    await asyncio.wait([closing], timeout=0.1)
    assert not closing.done()
    await end_tasks(closing)
    os.kill(pid, signal.SIGCONT)
    await eventually(lambda: not loops_of_clients(), 5)
    assert client.is_closed and connection.is_closing()
