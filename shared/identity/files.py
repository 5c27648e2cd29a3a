"""Private keys (`<name>.key`, mode 600, one an identity) and the registry as files."""

from __future__ import annotations

import contextlib
import fcntl
import os
from collections.abc import Callable, Iterator
from datetime import datetime
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, load_pem_public_key

from shared.attestation import load_private_key
from shared.errors import ConfigurationError, InvalidInputError, NotFoundError, Problem, UnavailableError
from shared.identity.registry import Identity, Registry, parse, public_text, render
from shared.identity.signing import MessageSigner

REGISTRY_NAME = "identities.yaml"
KEY_SUFFIX = ".key"


class RegistryFile:
    """The registry, read again when the file changes: whoever is revoked is refused from the next message on."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._stamp: tuple[int, int, int] | None = None
        self._registry: Registry | None = None

    def current(self) -> Registry:
        """A missing file knows nobody. Raises UnavailableError where it cannot be read or is wrong: what needs it has to wait."""
        stamp = self._stat()
        if self._registry is None or stamp != self._stamp:
            try:
                self._registry = read_registry(self._path)
            except (InvalidInputError, ConfigurationError) as error:
                raise UnavailableError(f"the registry of identities cannot be used, so nobody can be verified: {error}") from error
            self._stamp = stamp
        return self._registry

    def _stat(self) -> tuple[int, int, int] | None:
        try:
            status = self._path.stat()
        except OSError:
            return None
        return status.st_mtime_ns, status.st_size, status.st_ino


def read_registry(path: Path) -> Registry:
    """Empty where there is no file. Raises ConfigurationError or InvalidInputError."""
    try:
        return parse(path.read_text(encoding="utf-8"), str(path))
    except FileNotFoundError:
        return Registry()
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigurationError(f"cannot read the registry of identities {path}: {error}") from error


def signer_of_file(path: Path) -> MessageSigner:
    """A key file is named after its identity. Raises ConfigurationError."""
    return MessageSigner(path.name.removesuffix(KEY_SUFFIX), load_private_key(path))


def create_key(directory: Path, name: str) -> Path:
    """`<name>.key`, mode 600; one that is there is kept."""
    directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    path = directory / f"{name}{KEY_SUFFIX}"
    if not path.exists():
        pem = Ed25519PrivateKey.generate().private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
        with contextlib.suppress(FileExistsError):
            _write(path, pem, mode=0o600, replace=False)
    return path


def read_public_key(path: Path) -> str:
    """The registry's form of a PEM file's Ed25519 public key. Raises ConfigurationError."""
    try:
        key = load_pem_public_key(path.read_bytes())
    except OSError as error:
        raise ConfigurationError(f"cannot read the public key {path}: {error.strerror}") from error
    except ValueError as error:
        raise ConfigurationError(f"{path} holds no public key in PEM form") from error
    if not isinstance(key, Ed25519PublicKey):
        raise ConfigurationError(f"{path} holds a key of another kind than Ed25519")
    return public_text(key)


def add_identity(path: Path, identity: Identity) -> bool:
    """False where exactly this identity is there already; other roles replace the former ones.

    Raises InvalidInputError for a name with another key, a revoked name, or a key that has another name."""

    def change(registry: Registry) -> Registry:
        former = registry.find(identity.name)
        if problem := _conflict(registry, former, identity):
            raise InvalidInputError(problem)
        others = tuple(each for each in registry.identities if each is not former)
        return registry if former == identity else Registry(identities=(*others, identity))

    return _edited(path, change)


def revoke_identity(path: Path, name: str, now: datetime) -> bool:
    """False where it was revoked before. Raises NotFoundError."""

    def change(registry: Registry) -> Registry:
        found = registry.find(name)
        if found is None:
            raise NotFoundError(f"{path} knows no {name!r}; see `evoline people list`")
        revoked = found if found.revoked else found.model_copy(update={"revoked": now.isoformat()})
        return Registry(identities=tuple(revoked if each is found else each for each in registry.identities))

    return _edited(path, change)


def _conflict(registry: Registry, former: Identity | None, wanted: Identity) -> Problem | None:
    if former and former.revoked:
        return Problem(path="name", reason=f"{former.name} was revoked at {former.revoked}", suggestion="choose another name")
    if former and (former.public_key != wanted.public_key or former.kind != wanted.kind):
        return Problem(
            path="name",
            reason=f"{former.name} is registered with another key or kind",
            suggestion="revoke it and add the new key under a new name",
        )
    twin = next((each for each in registry.identities if each.public_key == wanted.public_key and each is not former), None)
    if twin:
        return Problem(path="public_key", reason=f"is the key of {twin.name} already", suggestion="one person, one name, one key")
    return None


def _edited(path: Path, change: Callable[[Registry], Registry]) -> bool:
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    with _locked(path):
        before = read_registry(path)
        after = change(before)
        if after != before:
            _write(path, render(after).encode(), mode=0o644, replace=True)
    return after != before


@contextlib.contextmanager
def _locked(path: Path) -> Iterator[None]:
    """Two who edit at once do it one after the other."""
    with path.with_name(f".{path.name}.lock").open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def _write(path: Path, content: bytes, *, mode: int, replace: bool) -> None:
    """Appears complete or not at all."""
    draft = path.with_name(f".{path.name}.{os.getpid()}")
    descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, mode)
    with os.fdopen(descriptor, "wb") as file:
        os.fchmod(descriptor, mode)
        file.write(content)
        file.flush()
        os.fsync(descriptor)
    try:
        if replace:
            draft.replace(path)
        else:
            os.link(draft, path)
    finally:
        draft.unlink(missing_ok=True)
