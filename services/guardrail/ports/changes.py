"""What is proposed, approved and serving, and how it is taken back."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol

from services.guardrail.domain.freezing import FreezeBoard
from services.guardrail.domain.records import ChangeRecord, Deployment, RevisionRecord, RollbackRecord
from shared.events.recovery import Freeze
from shared.events.values import Attestation


class Changes(Protocol):
    async def open(self, record: ChangeRecord) -> ChangeRecord:
        """The stored record of this id: the given one, or the one that was there before. One that was judged before may come back
        as it was given; its first save then raises `LostRaceError`."""
        ...

    async def get(self, change_id: str) -> ChangeRecord | None: ...
    async def save(self, record: ChangeRecord) -> ChangeRecord:
        """Writes the next version. Raises `LostRaceError` where the stored one is not the one that `record` came from."""
        ...

    async def queued(self, limit: int) -> Sequence[ChangeRecord]:
        """Oldest first."""
        ...

    async def untold(self, limit: int) -> Sequence[ChangeRecord]: ...

    async def decided_by_people(self, limit: int) -> Sequence[ChangeRecord]:
        """Those on which somebody decided, latest verdict first."""
        ...

    async def judged(self, limit: int, since: str) -> Sequence[ChangeRecord]:
        """The latest that rules judged, proposed at `since` or later; their documents are left out."""
        ...

    async def promotions(self, pipeline: str, limit: int) -> Sequence[ChangeRecord]:
        """The latest of a pipeline; their documents are left out."""
        ...

    async def with_broken_glass(self, limit: int) -> Sequence[ChangeRecord]:
        """Approved in an emergency, and neither confirmed nor taken back yet."""
        ...

    async def earlier(self, record: ChangeRecord) -> Sequence[str]:
        """Ids of changes of the same pipeline that came before this one and are not judged yet, in their order."""
        ...

    async def held(self, limit: int) -> Sequence[ChangeRecord]:
        """Those that came during a freeze and are not told yet, as they came."""
        ...

    async def count_held(self) -> int: ...
    async def barring(self, digest: str) -> ChangeRecord | None:
        """A former veto that holds for this digest under any change id."""
        ...


class Revisions(Protocol):
    async def add(self, revision: RevisionRecord) -> RevisionRecord:
        """The stored revision of this digest: the given one, or the one that was there before."""
        ...

    async def get(self, digest: str) -> RevisionRecord | None: ...
    async def of_pipeline(self, pipeline: str) -> Sequence[RevisionRecord]: ...
    async def children(self, digests: Sequence[str]) -> Sequence[RevisionRecord]:
        """Revisions and templates made directly from any of `digests`."""
        ...

    async def quarantine(
        self, digest: str, *, cause: str, reason: str, at: str, author: str = "", cancel_running: bool = False
    ) -> None:
        """No run starts on it any more, even where no revision of this digest exists yet. Repeatable; the first cause stays.
        `cancel_running`: executors end the runs that are under way on it."""
        ...

    async def release(self, digest: str, attestation: Attestation) -> None:
        """Takes it out of quarantine under a new attestation. Repeatable."""
        ...

    async def is_quarantined(self, digest: str) -> bool: ...
    async def why_quarantined(self, digest: str) -> dict[str, Any] | None:
        """`{cause, reason, at, author, cancel_running}`."""
        ...

    async def signed_otherwise(self, key: str, among: Sequence[str] | None = None) -> Sequence[RevisionRecord]:
        """Approved revisions and templates whose attestation is not under this key. `among`: only what one of these signed; the
        store needs not look through all of them then."""
        ...

    async def reattest(self, digest: str, attestation: Attestation, *, from_key: str) -> bool:
        """False where it is not signed with `from_key` any more, or not approved."""
        ...


class Deployments(Protocol):
    async def get(self, pipeline: str) -> Deployment | None: ...
    async def create(self, deployment: Deployment) -> bool:
        """False where the name is taken."""
        ...

    async def swap(self, deployment: Deployment, *, from_generation: int) -> bool:
        """One compare-and-set: False where the deployment is not at `from_generation` any more."""
        ...

    async def all(self, limit: int) -> Sequence[Deployment]: ...
    async def fence(self, pipeline: str | None, domain: str | None) -> None:
        """Raises the generation of this pipeline's deployment, of all of this domain, or of all: who read one of them before loses
        its compare-and-set."""
        ...


class Freezes(Protocol):
    """What people keep as it is. `holding` says why something may not change now, None where it may."""

    async def read(self) -> FreezeBoard: ...
    async def swap(self, board: FreezeBoard, *, from_generation: int) -> bool:
        """One compare-and-set: False where the board is not at `from_generation` any more."""
        ...

    async def holding(self, pipeline: str, *domains: str) -> Freeze | None: ...


class Rollbacks(Protocol):
    async def open(self, record: RollbackRecord) -> RollbackRecord: ...
    async def save(self, record: RollbackRecord) -> None: ...
    async def get(self, rollback_id: str) -> RollbackRecord | None: ...
    async def latest(self, limit: int) -> Sequence[RollbackRecord]:
        """Newest first, refused ones left out."""
        ...
