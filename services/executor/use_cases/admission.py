"""May this run start? Read anew for every run: nothing about approvals is remembered."""

from __future__ import annotations

import hashlib
from collections import OrderedDict
from collections.abc import Callable, Mapping
from typing import Any

from services.executor.domain.admission import (
    Admitted,
    LoadedDocument,
    canonical_json,
    check_faults,
    check_granted,
    check_no_cycle,
    check_revision,
    check_shadow,
    check_start,
    is_written_in,
    split_reference,
    unit_of,
)
from services.executor.domain.records import ChangedDocumentError, RunRecord
from services.executor.domain.run_file import Evidence
from services.executor.domain.standing import freeze_on
from services.executor.ports import Revisions, ScopeLedger, Standing
from shared.attestation import Verifier
from shared.clock import Clock
from shared.errors import NotAttestedError, NotFoundError, PermanentError
from shared.events.runs import ExecuteRun
from shared.events.values import Budget
from shared.pipeline.document import Document
from shared.pipeline.facts import document_facts
from shared.pipeline.loading import load_document

ONE_RUN = Budget(runs=1)


class DocumentLibrary:
    """Documents that were loaded lately, by the hash of what they were loaded from: parsing and checking is done once."""

    def __init__(self, *, capacity: int = 512) -> None:
        self._capacity = capacity
        self._loaded: OrderedDict[str, LoadedDocument] = OrderedDict()

    def load(self, source: Mapping[str, Any]) -> LoadedDocument:
        """Raises `InvalidInputError` with every problem of the document."""
        key = hashlib.sha256(canonical_json(source).encode()).hexdigest()
        if key not in self._loaded:
            document = load_document(source)
            self._loaded[key] = LoadedDocument(document, document.digest, document_facts(document))
        self._loaded.move_to_end(key)
        while len(self._loaded) > self._capacity:
            self._loaded.popitem(last=False)
        return self._loaded[key]


class Admission:
    def __init__(
        self,
        verifier: Callable[[], Verifier],
        revisions: Revisions,
        standing: Standing,
        ledger: ScopeLedger,
        library: DocumentLibrary,
        clock: Clock,
    ) -> None:
        self._verifier = verifier
        self._standing = standing
        self._revisions = revisions
        self._ledger = ledger
        self._library = library
        self._clock = clock

    async def admit(self, command: ExecuteRun) -> Admitted:
        """What to run. A trial's run is counted in its scope. Raises a `PermanentError` that says why the run is refused."""
        check_start(command, self._clock.now())
        check_faults(command)
        admitted = await self._approved(command)
        check_no_cycle(command, admitted.loaded.document)
        check_shadow(command, admitted.loaded.facts)
        if command.scope is not None:
            check_granted(self._verifier(), command.scope, command, admitted.loaded.facts, self._clock.now())
            await self._ledger.reserve(command.scope.scope.scope_id, command.scope.scope.budget, ONE_RUN)
        elif (pool := _shadow_budget(command)) is not None:
            await self._ledger.reserve(*pool, ONE_RUN)
        return admitted

    async def release(self, command: ExecuteRun) -> None:
        """The run was counted before: gives back what `admit` counted."""
        if command.scope is not None:
            await self._ledger.release_run(command.scope.scope.scope_id)
        elif (pool := _shadow_budget(command)) is not None:
            await self._ledger.release_run(pool[0])

    async def admit_again(self, record: RunRecord) -> Admitted:
        """The same revision that the run began with, judged anew. Raises `ChangedDocumentError` where it is not the same."""
        command = self.pinned(record)
        admitted = await self._approved(command)
        if admitted.loaded.digest != record.digest:
            raise ChangedDocumentError(
                f"run {record.run_id} began with {record.digest[:12]}, its document is now {admitted.loaded.digest[:12]}"
            )
        if command.scope is not None:
            check_granted(self._verifier(), command.scope, command, admitted.loaded.facts, self._clock.now())
        return admitted

    def pinned(self, record: RunRecord) -> ExecuteRun:
        """The run's command, for exactly the revision that it ran."""
        command = record.command
        if command.pipeline is None or command.document is not None:
            return command
        name, _ = split_reference(command.pipeline)
        return command.model_copy(update={"pipeline": f"{name}@{record.digest}"})

    async def evidence(self, record: RunRecord) -> Evidence:
        """What the run was admitted by, as far as it can still be found; nothing is judged anew."""
        command = self.pinned(record)
        granted = command.scope.attestation if command.scope else None
        if not record.digest:
            return Evidence()
        if command.document is not None:
            return Evidence(command.document, granted)
        assert command.pipeline is not None
        try:
            revision = await self._revisions.resolve(*split_reference(command.pipeline))
        except NotFoundError:
            return Evidence(attestation=granted)
        return Evidence(revision.document, granted or revision.attestation)

    def load(self, source: Mapping[str, Any]) -> LoadedDocument:
        """Raises `InvalidInputError` with every problem of the document."""
        return self._library.load(source)

    async def document_of(self, command: ExecuteRun) -> Document:
        """What a command would run. Raises a `PermanentError` where it may not."""
        return (await self._approved(command)).loaded.document

    async def tolerated_failures(self, record: RunRecord) -> frozenset[str]:
        """Top-level steps whose failure the run goes on after; asked for before a retry only."""
        if record.going_for != "retry":
            return frozenset()
        try:
            document = await self.document_of(self.pinned(record))
        except PermanentError:
            # It may not run any more: admission says so next, and nothing is executed.
            return frozenset()
        return frozenset(step.name for step in document.steps if step.on_error == "continue")

    async def _approved(self, command: ExecuteRun) -> Admitted:
        if command.document is None:
            assert command.pipeline is not None
            return await self._revision(command.pipeline, unit_of(command))
        loaded = self._library.load(command.document)
        if await self._standing.is_quarantined(loaded.digest):
            raise NotAttestedError(f"revision {loaded.digest[:12]} of {loaded.document.name} is quarantined")
        if command.scope is None:
            await self._check_covered(command)
        elif freeze := freeze_on(await self._standing.freezes(), command.scope, loaded.document.name, loaded.document.domain):
            raise freeze.error
        return Admitted(loaded, loaded.document.name)

    async def _check_covered(self, command: ExecuteRun) -> None:
        """A document without a scope is approved only as a part of an approved revision."""
        assert command.document is not None
        if command.pipeline is None:
            raise NotAttestedError("a document runs under a scope, or as it is written in an approved revision")
        outer = await self._revision(command.pipeline)
        if not is_written_in(command.document, outer.loaded.document):
            raise NotAttestedError(f"the nested document is not written in {command.pipeline}")

    async def _revision(self, reference: str, unit_id: str = "") -> Admitted:
        name, selector = split_reference(reference)
        revision = await self._revisions.resolve(name, selector, unit_id)
        if revision.status == "quarantined" and revision.place.arm == "canary":
            # It was rolled back between the two reads: what serves now is the stable revision.
            revision = await self._revisions.resolve(name, "stable")
        loaded = self._library.load(revision.document)
        check_revision(self._verifier(), revision, loaded, self._clock.now())
        return Admitted(loaded, name, revision.place)


def _shadow_budget(command: ExecuteRun) -> tuple[str, Budget] | None:
    """All shadow runs of a rollout together; runs nested in one are part of it."""
    if command.shadow_of is None:
        return None
    return f"shadow:{command.shadow_of.rollout_id}", Budget(runs=command.shadow_of.most_runs)
