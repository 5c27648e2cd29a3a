"""The servers that peers need, in temporary folders, with their default durable settings."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager
from pathlib import Path

from bench.executor.loads import EngineFailedError
from tests.servers import _accepts, free_port, running

POSTGRES_USER = "postgres"
Server = Callable[[Path], AbstractContextManager[str]]
"""Given the peers' environment, a running server's address."""


@contextlib.contextmanager
def postgres(_: Path) -> Iterator[str]:
    """A cluster of its own as `initdb` makes it: fsync and synchronous_commit are on. Over a socket: the fastest way to it."""
    programs = _postgres_programs()
    folder = Path(tempfile.mkdtemp(prefix="bench-pg-"))
    prefix = _as_somebody(folder)
    socket, data = folder / ".s.PGSQL.5432", folder / "data"
    try:
        made = [*prefix, str(programs / "initdb"), "-D", str(data), "-U", "bench", "-A", "trust", "-E", "UTF8", "--locale=C"]
        subprocess.run(made, check=True, capture_output=True, cwd=folder)
        command = [*prefix, str(programs / "postgres"), "-D", str(data), "-k", str(folder), "-p", "5432", "-c", "listen_addresses="]
        with running(command, socket.exists, folder / "log") as server:
            yield f"postgresql://bench@/bench?host={folder}&port=5432"
            server.send_signal(signal.SIGINT)
            server.wait(20)
    except subprocess.CalledProcessError as error:
        raise EngineFailedError(f"initdb: {error.stderr.decode(errors='replace')[-300:]}") from error
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _postgres_programs() -> Path:
    """Debian keeps them out of the search path."""
    if found := shutil.which("postgres"):
        return Path(found).resolve().parent
    installed = sorted(Path("/usr/lib/postgresql").glob("*/bin/postgres"), key=lambda path: int(path.parts[-3]))
    if not installed:
        raise EngineFailedError("PostgreSQL is not installed (Debian, Ubuntu: apt-get install postgresql)")
    return installed[-1].parent


def _as_somebody(folder: Path) -> Sequence[str]:
    """PostgreSQL refuses to run as root."""
    if os.geteuid() != 0:
        return ()
    shutil.chown(folder, POSTGRES_USER, POSTGRES_USER)
    return ("setpriv", f"--reuid={POSTGRES_USER}", f"--regid={POSTGRES_USER}", "--clear-groups")


@contextlib.contextmanager
def sqlite_file(_: Path) -> Iterator[str]:
    with tempfile.TemporaryDirectory(prefix="bench-sqlite-") as folder:
        yield f"{folder}/checkpoints.db"


@contextlib.contextmanager
def temporal(environment: Path) -> Iterator[str]:
    """The development server with a file as its store, instead of memory."""
    program = environment / "bin" / "temporal"
    if not program.exists():
        raise EngineFailedError(f"{program} is not there")
    with tempfile.TemporaryDirectory(prefix="bench-temporal-") as name:
        port, folder = free_port(), Path(name)
        command = [str(program.absolute()), "server", "start-dev", "--ip", "127.0.0.1", "--port", str(port), "--headless"]
        command += ["--db-filename", str(folder / "temporal.db"), "--log-level", "error"]
        log = folder / "log"
        with running(command, lambda: _accepts(port) and "Temporal Server:" in log.read_text(errors="replace"), log):
            yield f"127.0.0.1:{port}"
