"""Where the local stack keeps its things."""

from __future__ import annotations

import hashlib
import os
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from evoline.secret_files import SecretStore
from shared.errors import ConfigurationError

HOME_VARIABLE = "EVOLINE_HOME"
HOME_NAME = ".evoline"
LONGEST_SOCKET_PATH = 100
"""Unix refuses socket paths beyond 104 to 108 bytes."""


@dataclass(frozen=True)
class Home:
    root: Path

    @property
    def data(self) -> Path:
        """What `evoline down --data` deletes: messages, documents, workspaces."""
        return self.root / "data"

    @property
    def logs(self) -> Path:
        return self.root / "logs"

    @property
    def keys(self) -> Path:
        return self.root / "keys"

    @property
    def checkpoints(self) -> Path:
        """Signed checkpoints of the audit log: outside the store, and deleted together with it."""
        return self.data / "audit" / "checkpoints.jsonl"

    @property
    def secrets(self) -> SecretStore:
        """Keys and passwords of the broker's and the store's users; they outlive the data."""
        return SecretStore(self.root / "secrets")

    @property
    def state_file(self) -> Path:
        return self.root / "stack.json"

    @property
    def lock_file(self) -> Path:
        return self.root / "stack.lock"

    @property
    def socket(self) -> Path:
        """The supervisor's control socket; in a private temporary folder where the path would be too long for one."""
        path = self.root / "control.sock"
        if len(os.fsencode(path)) <= LONGEST_SOCKET_PATH:
            return path
        short = hashlib.sha256(os.fsencode(self.root)).hexdigest()[:16]
        return Path(tempfile.gettempdir()) / f"evoline-{os.getuid()}-{short}" / "control.sock"

    def log(self, process: str) -> Path:
        return self.logs / f"{process}.log"

    def create(self) -> None:
        """Makes the folders, readable by the owner only. Raises ConfigurationError where that is not possible."""
        try:
            for folder in (self.root, self.data, self.logs, self.keys, self.data / "work", self.socket.parent):
                folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        except OSError as error:
            raise ConfigurationError(
                f"cannot create {error.filename}: {error.strerror}; choose another place with {HOME_VARIABLE}=/path evoline up"
            ) from error
        if self.socket.parent != self.root and self.socket.parent.stat().st_uid != os.getuid():
            raise ConfigurationError(f"{self.socket.parent} belongs to somebody else; choose a shorter {HOME_VARIABLE}")


def find_home(environment: Mapping[str, str], directory: Path) -> Home:
    """`EVOLINE_HOME`, else the nearest `.evoline` that holds a stack in `directory` or above, else `directory/.evoline`."""
    given = environment.get(HOME_VARIABLE)
    if given:
        return Home(Path(given).expanduser().resolve())
    directory = directory.resolve()
    for folder in (directory, *directory.parents):
        if (folder / HOME_NAME / "stack.json").is_file():
            return Home(folder / HOME_NAME)
    return Home(directory / HOME_NAME)
