"""Users of the local document store.

Its server takes a first user only while it asks nobody, so the stack starts it once without users, on a free port of this
machine, and makes the administrator. That is needed again only where the administrator's password or the data are new."""

from __future__ import annotations

import asyncio
import hashlib
from pathlib import Path

from pydantic import SecretStr

from evoline.secret_files import SecretStore, write_private
from evoline.stack.logs import open_log
from evoline.stack.readiness import tcp_probe
from evoline.stack.system import LOOPBACK, any_free_port, die_with_parent
from shared.errors import UnavailableError
from shared.storage.roles import ADMIN, USERS
from shared.storage.users import apply_admin, apply_users

START_SECONDS = 60.0
STOP_SECONDS = 15.0
MARK = "administrator"
"""Beside the data: a hash of the password that their administrator has, so that it is gone when they are."""


def store_url(port: int) -> SecretStr:
    return SecretStr(f"mongodb://{LOOPBACK}:{port}/?replicaSet=secantus&retryWrites=false")


async def ensure_admin(secrets: SecretStore, program: str, storage: Path, log: Path) -> str:
    """What was done, in a few words; nothing where the data have this administrator already."""
    password = secrets.password(ADMIN)
    mark = storage.with_name(f"{storage.name}.{MARK}")
    wanted = hashlib.sha256(password.get_secret_value().encode()).hexdigest()
    if _is_made(storage, mark, wanted):
        return ""
    port = any_free_port()
    command = (program, "--host", LOOPBACK, "--port", str(port), "--storage-path", str(storage), "--sync-on-commit")
    with open_log(log) as output:
        process = await asyncio.create_subprocess_exec(*command, stdout=output, stderr=output, preexec_fn=die_with_parent())
    try:
        await _ready(process, port, log)
        await apply_admin(store_url(port), password)
    finally:
        await _end(process)
    write_private(mark, wanted.encode())
    return "administrator made"


def _is_made(storage: Path, mark: Path, wanted: str) -> bool:
    return storage.exists() and mark.exists() and mark.read_text() == wanted


async def ensure_users(secrets: SecretStore, url: str) -> str:
    """Raises UnavailableError or ConfigurationError."""
    passwords = {user.name: secrets.password(user.name) for user in USERS}
    found = await apply_users(SecretStr(url), passwords, user=ADMIN, password=secrets.password(ADMIN))
    return f"{len(found)} users"


async def _ready(process: asyncio.subprocess.Process, port: int, log: Path) -> None:
    probe = tcp_probe(port)
    try:
        async with asyncio.timeout(START_SECONDS):
            while missing := await probe():
                if process.returncode is not None:
                    raise UnavailableError(f"the document store ended with exit code {process.returncode}; see {log}")
                await asyncio.sleep(0.05)
    except TimeoutError as error:
        raise UnavailableError(f"the document store is not ready within {START_SECONDS:g} s: {missing}; see {log}") from error


async def _end(process: asyncio.subprocess.Process) -> None:
    if process.returncode is not None:
        return
    process.terminate()
    try:
        async with asyncio.timeout(STOP_SECONDS):
            await process.wait()
    except TimeoutError:
        process.kill()
        await process.wait()
