"""Policies, keys, and the people behind them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from services.guardrail.domain.keys import Keys
from services.guardrail.domain.oversight import Delegation, RegistryNote
from services.guardrail.domain.policies import ActivePolicy, PolicyRecord
from shared.audit.checkpoints import Checkpoint, TreeHead
from shared.events.values import Attestation
from shared.identity import Registry


class Policies(Protocol):
    async def add(self, record: PolicyRecord) -> PolicyRecord:
        """The stored policy of this revision: the given one, or the one that was there before."""
        ...

    async def get(self, revision: str) -> PolicyRecord | None: ...
    async def latest(self, limit: int) -> Sequence[PolicyRecord]:
        """Newest first."""
        ...

    async def active(self) -> ActivePolicy | None: ...
    async def activate(self, active: ActivePolicy, *, from_generation: int) -> bool:
        """One compare-and-set: False where what is in force is not at `from_generation` any more; 0 stands for nothing yet."""
        ...


class Signer(Protocol):
    def sign(self, attestation: Attestation) -> Attestation: ...
    def check(self, attestation: Attestation, *, kind: str, digest: str) -> None:
        """Raises `NotAttestedError` unless it is one of ours for exactly this."""
        ...

    def sign_head(self, head: TreeHead) -> Checkpoint: ...
    def ring(self) -> Keys: ...


class Identities(Protocol):
    def current(self) -> Registry:
        """Who may sign now. Raises `UnavailableError` where nobody can say."""
        ...


class RegistryNotes(Protocol):
    async def last(self) -> RegistryNote | None: ...
    async def add(self, note: RegistryNote) -> None:
        """Raises `LostRaceError` where this number is taken."""
        ...


class Delegations(Protocol):
    async def open(self, record: Delegation) -> Delegation:
        """The stored one of this id: the given one, or the one that was there before."""
        ...

    async def get(self, delegation_id: str) -> Delegation | None: ...
    async def revoke(self, record: Delegation, at: str) -> Delegation: ...
    async def between(self, delegator: str, delegate: str) -> Sequence[Delegation]: ...
    async def latest(self, limit: int) -> Sequence[Delegation]:
        """Newest first, refused ones left out."""
        ...
