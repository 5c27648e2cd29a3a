"""Leaving a broker that reads no more: bounded, and nothing stays open."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import Iterator
from pathlib import Path

import nats
import pytest
from nats.aio.transport import TcpTransport

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


async def test_a_client_with_much_unsaid_leaves_a_stalled_broker(broker: tuple[str, int]) -> None:
    url, pid = broker
    client = await nats.connect(url, pending_size=10_000_000)
    os.kill(pid, signal.SIGSTOP)
    for payload in MORE_THAN_SOCKETS_HOLD:
        await client.publish("unheard", payload)
    assert isinstance(client._transport, TcpTransport) and client._transport._io_writer is not None
    connection = client._transport._io_writer.transport
    await eventually(lambda: connection.get_write_buffer_size() > 0)
    async with asyncio.timeout(20):
        await close_client(client, 0.3)
    assert client.is_closed
    assert connection.is_closing()
    assert connection.get_write_buffer_size() == 0
