"""What a run's file holds."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict

from services.executor.domain.records import IMPORTED_SEQUENCE, Control, Imported, JournalEntry, RunRecord
from services.executor.domain.run_file.secrets import Hiding
from shared.events.transfer import ImportRun
from shared.events.values import Attestation, Digest

FORMAT, VERSION = "evoline.run", 1
NOT_CARRIED: Any = {"command": {"scope", "continuation", "pools"}, "imported": True}
"""A scope would let others run something, and what a run shares with others stays with those; how the run came to its former stack
is in `controls`."""


class AttestationReference(BaseModel):
    """Which approval the run was under; without the signature, since the approval does not travel."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    kind: str
    digest: Digest
    scope: str
    domain: str
    policy_revision: str
    issued_at: str
    expires_at: str
    key_id: str


class RunFile(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")

    format: Literal["evoline.run"]
    version: Literal[1]
    evoline: str
    """The version that wrote it."""
    run: RunRecord
    document: dict[str, Any] | None
    """What was run. None where nothing was found to run, or where it holds a secret."""
    attestation: AttestationReference | None
    journal: tuple[JournalEntry, ...]
    redacted: tuple[str, ...]
    """Places where a secret stood."""
    sha256: Digest
    """Of the canonical JSON of all else."""


@dataclass(frozen=True)
class Evidence:
    """What a run was admitted by."""

    document: Mapping[str, Any] | None = None
    attestation: Attestation | None = None


def written(record: RunRecord, entries: Sequence[JournalEntry], evidence: Evidence, evoline: str) -> dict[str, Any]:
    """The file. `record` and `entries` hold their values, not references to them."""
    hiding = Hiding()
    run = hiding.run(json.loads(record.model_dump_json(exclude=NOT_CARRIED)))
    journal = [hiding.entry(number, json.loads(entry.model_dump_json())) for number, entry in enumerate(entries)]
    document = hiding.document(evidence.document)
    attestation = evidence.attestation.model_dump(mode="json", exclude={"signature"}) if evidence.attestation else None
    return sealed(
        {
            "format": FORMAT,
            "version": VERSION,
            "evoline": evoline,
            "run": run,
            "document": document,
            "attestation": attestation,
            "journal": journal,
            "redacted": hiding.places,
        }
    )


def sealed(file: Mapping[str, Any]) -> dict[str, Any]:
    """The same file with its own hash, which shows damage. It proves no origin: whoever edits a file can seal it again.

    Raises `UnicodeEncodeError` for halves of characters."""
    rest = {name: value for name, value in file.items() if name != "sha256"}
    canonical = json.dumps(rest, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode()
    return {**rest, "sha256": hashlib.sha256(canonical).hexdigest()}


def kept_record(file: RunFile, command: ImportRun, now: datetime) -> RunRecord:
    """The run as this stack keeps it."""
    run = file.run
    imported = Imported(sha256=file.sha256, evoline=file.evoline, at=now, redacted=tuple(file.redacted), generation=run.generation)
    control = Control(verb="import", author=command.author, reason=command.reason, at=now)
    return run.model_copy(
        update={"command_sequence": IMPORTED_SEQUENCE, "imported": imported, "controls": (*run.controls, control)}
    )
