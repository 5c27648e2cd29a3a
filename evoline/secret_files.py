"""The secrets of one deployment as files of the owner only: made once, never printed.

    ROOT/<role>/bus.nk              private key of a user of the broker (nkey seed)
    ROOT/<role>/bus.previous.nk     the one before, while both are valid
    ROOT/<user>/store.password      of a user of the document store
    ROOT/mongo/replica.key          by which members of a replica set know each other; the local stack has none
    ROOT/nats/users.conf            the broker's users, by their public keys, with what they may do

A folder a role, so that a container is given its own and no other."""

from __future__ import annotations

import base64
import contextlib
import os
import secrets
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from pydantic import SecretStr

from shared.errors import ConfigurationError, InvalidInputError
from shared.messaging.connection import read_seed
from shared.messaging.permissions import roles
from shared.messaging.server_users import new_seed, public_key, users_block
from shared.storage.roles import ADMIN as STORE_ADMIN
from shared.storage.roles import USERS

PASSWORD_BYTES = 32


@dataclass(frozen=True)
class SecretStore:
    root: Path

    @property
    def nats_users_file(self) -> Path:
        return self.root / "nats" / "users.conf"

    @property
    def replica_key_file(self) -> Path:
        return self.root / "mongo" / "replica.key"

    def seed_file(self, role: str) -> Path:
        return self.root / role / "bus.nk"

    def previous_seed_file(self, role: str) -> Path:
        return self.root / role / "bus.previous.nk"

    def password_file(self, user: str) -> Path:
        return self.root / user / "store.password"

    def password(self, user: str) -> SecretStr:
        return SecretStr(_read(self.password_file(user)))

    def create(self) -> tuple[Path, ...]:
        """Makes what is missing and returns it; the broker's users are written anew, for the table may have changed.

        Raises ConfigurationError where a secret can be read by others, or the folder cannot be written."""
        wanted = {self.seed_file(role): new_seed for role in roles()}
        wanted |= {self.password_file(user): _new_password for user in (STORE_ADMIN, *(each.name for each in USERS))}
        wanted[self.replica_key_file] = _new_replica_key
        made = tuple(path for path, invent in wanted.items() if _write_once(path, invent()))
        for path in wanted:
            _check_private(path)
        self.write_nats_users()
        return made

    def write_nats_users(self) -> None:
        write_private(self.nats_users_file, users_block({role: self._public_keys(role) for role in roles()}).encode())

    def rotate(self, role: str) -> None:
        """A new key for a user of the broker; the one before stays valid until `finish_rotation`.

        Raises InvalidInputError for no such role, or one whose last rotation is not finished."""
        _check_role(role)
        seed, previous = self.seed_file(role), self.previous_seed_file(role)
        if previous.exists():
            raise InvalidInputError(f"{role} has two keys already; end that first: evoline secrets rotate {role} --finish")
        write_private(previous, read_seed(seed).encode())
        write_private(seed, new_seed())
        self.write_nats_users()

    def finish_rotation(self, role: str) -> bool:
        """The key before is valid no more; False where there was none."""
        _check_role(role)
        previous = self.previous_seed_file(role)
        there = previous.exists()
        previous.unlink(missing_ok=True)
        self.write_nats_users()
        return there

    def _public_keys(self, role: str) -> Sequence[str]:
        files = [path for path in (self.seed_file(role), self.previous_seed_file(role)) if path.exists()]
        return [public_key(read_seed(path).encode()) for path in files]


def _check_role(role: str) -> None:
    if role not in roles():
        raise InvalidInputError(f"the broker has no user {role!r}; there are {', '.join(roles())}")


def _new_password() -> bytes:
    return secrets.token_urlsafe(PASSWORD_BYTES).encode()


def _new_replica_key() -> bytes:
    """6 to 1024 characters of base64, as MongoDB wants it."""
    return base64.b64encode(secrets.token_bytes(512))


def _read(path: Path) -> str:
    _check_private(path)
    return path.read_text().strip()


def _check_private(path: Path) -> None:
    try:
        mode = path.stat().st_mode
    except OSError as error:
        raise ConfigurationError(f"{path}: {error.strerror}; make the secrets with `evoline secrets create`") from error
    if mode & 0o077:
        raise ConfigurationError(f"{path} is open to others: chmod 600 {path}")


def _write_once(path: Path, content: bytes) -> bool:
    """Whole or not at all, and never over what is there."""
    if path.exists():
        return False
    return _written(path, content, lambda temporary: os.link(temporary, path))


def write_private(path: Path, content: bytes) -> None:
    """Whole or not at all, readable by the owner only."""
    _written(path, content, lambda temporary: temporary.replace(path))


def _written(path: Path, content: bytes, place: Callable[[Path], object]) -> bool:
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        with os.fdopen(descriptor, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        place(temporary)
    except FileExistsError:
        return False  # another process was faster
    except OSError as error:
        raise ConfigurationError(f"cannot write {path}: {error.strerror}") from error
    finally:
        with contextlib.suppress(OSError):
            temporary.unlink()
    return True
