"""Real servers as child processes of a test run: started on a free port, ready before use, gone afterwards."""

from __future__ import annotations

import contextlib
import itertools
import os
import random
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

START_SECONDS = 20.0
STOP_SECONDS = 8.0
LOWEST_PORT, HIGHEST_PORT = 10_000, 32_000


def _ports() -> Iterator[int]:
    """Below those that outgoing connections get, and of each worker its own: nobody takes one between this look and its use."""
    worker, workers = int(os.environ.get("PYTEST_XDIST_WORKER", "gw0")[2:]), int(os.environ.get("PYTEST_XDIST_WORKER_COUNT", "1"))
    mine = range(LOWEST_PORT + worker, HIGHEST_PORT, workers)
    start = random.randrange(len(mine))
    return itertools.cycle([*mine[start:], *mine[:start]])


_PORTS = _ports()


def free_port() -> int:
    """Never the same one twice in a while."""
    for port in _PORTS:
        with socket.socket() as probe, contextlib.suppress(OSError):
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind(("127.0.0.1", port))
            return port
    raise AssertionError("the ports go round")


def program(name: str) -> str:
    """A console program of the environment that the tests run in."""
    return str(Path(sys.executable).parent / name)


@contextlib.contextmanager
def running(command: Sequence[str], ready: Callable[[], bool], log: Path) -> Iterator[subprocess.Popen[bytes]]:
    """Starts `command`, waits until `ready`, stops it at the end; its output is in `log` and in the error if it fails."""
    with log.open("wb") as output:
        process = subprocess.Popen(command, stdout=output, stderr=subprocess.STDOUT, cwd=log.parent)
    try:
        _await_ready(process, ready, log)
        yield process
    finally:
        process.terminate()
        try:
            process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _await_ready(process: subprocess.Popen[bytes], ready: Callable[[], bool], log: Path) -> None:
    deadline = time.monotonic() + START_SECONDS
    while not ready():
        if process.poll() is not None or time.monotonic() > deadline:
            raise RuntimeError(f"{process.args!r} did not get ready:\n{log.read_text(errors='replace')[-4000:]}")
        time.sleep(0.02)


def _answers_http(url: str) -> bool:
    try:
        with urllib.request.urlopen(url, timeout=1) as answer:
            return bool(answer.status == 200)
    except (urllib.error.URLError, OSError):
        return False


def _accepts(port: int) -> bool:
    with socket.socket() as probe:
        probe.settimeout(0.5)
        return probe.connect_ex(("127.0.0.1", port)) == 0


@contextlib.contextmanager
def nats_server(directory: Path | None = None, port: int | None = None, extra: str = "") -> Iterator[str]:
    """A nats-server with JetStream, every write synced; the same directory and port again continue where it stopped.

    `extra`: more of its configuration, as an `include` of its users."""
    with contextlib.ExitStack() as stack:
        home = directory or Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="evoline-nats-")))
        client_port, monitor_port = port or free_port(), free_port()
        config = home / "server.conf"
        config.write_text(
            f'host: "127.0.0.1"\nport: {client_port}\nhttp: "127.0.0.1:{monitor_port}"\n'
            f'jetstream {{ store_dir: "{home}/jetstream", sync_interval: always, max_file_store: 2G }}\n{extra}'
        )
        health = f"http://127.0.0.1:{monitor_port}/healthz"
        stack.enter_context(running([program("nats-server"), "-c", str(config)], lambda: _answers_http(health), home / "nats.log"))
        yield f"nats://127.0.0.1:{client_port}"


@contextlib.contextmanager
def mongo_server(directory: Path | None = None, port: int | None = None, *options: str) -> Iterator[str]:
    """A server of the MongoDB wire protocol, every commit synced; `EVOLINE_TEST_MONGO_URL` names a running one instead.

    `options`: more of its command line, as `--auth`; then it is never the running one."""
    given = os.environ.get("EVOLINE_TEST_MONGO_URL")
    if given and not options:
        if os.environ.get("PYTEST_XDIST_WORKER_COUNT", "1") != "1":
            raise RuntimeError("EVOLINE_TEST_MONGO_URL names one server, whose databases the tests drop: run them with WORKERS=1")
        yield given
        return
    with contextlib.ExitStack() as stack:
        home = directory or Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="evoline-mongo-")))
        port = port or free_port()
        command = [program("secantusd-py"), "--host", "127.0.0.1", "--port", str(port)]
        command += ["--storage-path", str(home / "store"), "--sync-on-commit", "--log-level", "WARNING", *options]
        stack.enter_context(running(command, lambda: _accepts(port), home / "mongo.log"))
        yield f"mongodb://127.0.0.1:{port}/?replicaSet=secantus&retryWrites=false&serverSelectionTimeoutMS=4000"
