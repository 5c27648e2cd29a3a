"""What is known about the stack outside of it: `.evoline/stack.json`, replaced as a whole at every change."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from evoline.stack import system
from shared.errors import ConfigurationError

StackStatus = Literal["starting", "ready", "stopping", "stopped", "failed"]
ProcessStatus = Literal["waiting", "starting", "ready", "not_ready", "restarting", "stopped"]


class _Recorded(BaseModel):
    model_config = ConfigDict(extra="ignore", validate_assignment=True)


class ProcessRecord(_Recorded):
    name: str
    pid: int = 0
    """0 while none runs."""
    start_mark: str = ""
    """Tells this process from a later one with the same pid."""
    port: int = 0
    status: ProcessStatus = "waiting"
    restarts: int = 0
    started_at: str = ""
    """RFC 3339, UTC, of the running process."""
    log: str = ""
    url: str = ""


class StackRecord(_Recorded):
    version: int = 1
    status: StackStatus = "stopped"
    supervisor_pid: int = 0
    supervisor_mark: str = ""
    started_at: str = ""
    ports: dict[str, int] = Field(default_factory=dict)
    """Kept after a stop: the next start takes the same ones if they are free."""
    urls: dict[str, str] = Field(default_factory=dict)
    """`nats`, `nats_monitor`, `mongo`, and `model` where one is used; empty while the stack is down."""
    public_key_file: str = ""
    pipelines_dir: str = ""
    model: str = ""
    """File or address of the local model; empty where none is used."""
    versions: dict[str, str] = Field(default_factory=dict)
    processes: list[ProcessRecord] = Field(default_factory=list)
    error: str = ""
    """Why the last start failed."""

    @property
    def alive(self) -> bool:
        """Whether the supervisor that wrote this still runs; a record of a dead one is stale."""
        return system.is_running(self.supervisor_pid, self.supervisor_mark)

    def process(self, name: str) -> ProcessRecord | None:
        return next((record for record in self.processes if record.name == name), None)


def read_state(path: Path) -> StackRecord:
    """The record, or an empty one where there is none yet. Raises ConfigurationError where the file is not readable."""
    try:
        return StackRecord.model_validate_json(path.read_bytes())
    except FileNotFoundError:
        return StackRecord()
    except (OSError, ValidationError) as error:
        raise ConfigurationError(f"{path} cannot be read ({type(error).__name__}); stop the stack and delete the file") from error


def write_state(path: Path, record: StackRecord) -> None:
    """Whole or not at all, readable by the owner only."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    text = json.dumps(record.model_dump(mode="json"), indent=2) + "\n"
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "w") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    temporary.replace(path)
