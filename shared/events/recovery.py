"""Stopping and taking back: freezes of the system, quarantine of revisions and the way out of it, the guardrail's keys."""

from __future__ import annotations

from typing import Any, ClassVar, Literal

from pydantic import Field, model_validator

from shared.errors import FrozenError
from shared.events.message import Command, Fact, Part, Query
from shared.events.values import Domain, Identifier, PipelineName

FreezeScope = Literal["all", "pipeline", "domain"]


class Freeze(Part):
    """While it stands, nothing changes within its scope: no change takes effect, no search runs, no rollout advances."""

    freeze_id: str
    scope: FreezeScope
    name: str = ""
    """Of the pipeline or domain; empty for all."""
    reason: str
    author: str
    at: str

    def holds(self, pipeline: str, *domains: str) -> bool:
        return self.scope == "all" or self.name in ((pipeline,) if self.scope == "pipeline" else domains)

    @property
    def extent(self) -> str:
        return "the system" if self.scope == "all" else f"{self.scope} {self.name}"

    @property
    def error(self) -> FrozenError:
        return FrozenError(
            f"{self.extent} is frozen since {self.at} by {self.author} ({self.freeze_id}): {self.reason}; "
            "what serves goes on serving, everything else waits for: evoline unfreeze"
        )


class FreezeSystem(Command):
    """Stops all evolution, generation, experiments and rollouts within the scope at once. Runs on stable revisions go on,
    rollbacks stay possible; proposals are kept and judged in their order when it ends. The same id again changes nothing."""

    subject: ClassVar[str] = "cmd.guardrail.freeze"
    owner: ClassVar[str] = "guardrail"
    signed: ClassVar[bool] = True

    freeze_id: Identifier
    scope: FreezeScope = "all"
    pipeline: PipelineName | None = None
    """With scope `pipeline` only."""
    domain: Domain | None = None
    """With scope `domain` only."""
    reason: str = Field(min_length=1, max_length=2000)
    author: Identifier

    @model_validator(mode="after")
    def _names_what_it_freezes(self) -> FreezeSystem:
        given = {name for name in ("pipeline", "domain") if getattr(self, name) is not None}
        wanted = set() if self.scope == "all" else {self.scope}
        if given != wanted:
            raise ValueError(f"scope {self.scope!r} goes with {' and '.join(wanted) or 'neither `pipeline` nor `domain`'}")
        return self

    @property
    def name(self) -> str:
        return self.pipeline or self.domain or ""


class SystemFrozen(Fact):
    subject: ClassVar[str] = "evt.system.frozen"
    owner: ClassVar[str] = "guardrail"

    freeze_id: str
    scope: FreezeScope
    name: str = ""
    reason: str
    author: str
    generation: int
    """Counts the writes of the freeze document."""


class UnfreezeSystem(Command):
    """Ends one freeze, or all of them. What waited is judged in its order."""

    subject: ClassVar[str] = "cmd.guardrail.unfreeze"
    owner: ClassVar[str] = "guardrail"
    signed: ClassVar[bool] = True

    unfreeze_id: Identifier
    freeze_id: Identifier | None = None
    """None: all that stand."""
    reason: str = Field(default="", max_length=2000)
    author: Identifier


class SystemUnfrozen(Fact):
    subject: ClassVar[str] = "evt.system.unfrozen"
    owner: ClassVar[str] = "guardrail"

    unfreeze_id: str
    freeze_ids: tuple[str, ...]
    """Those that this ended; empty where none stood."""
    still: tuple[str, ...] = ()
    """Freezes that stand on."""
    author: str
    generation: int


class FreezeRefused(Fact):
    """A freeze or unfreeze that does not count."""

    subject: ClassVar[str] = "evt.freeze.refused"
    owner: ClassVar[str] = "guardrail"

    request_id: str
    """Id of the freeze or unfreeze."""
    reason: str


class ChangeHeld(Fact):
    """A proposal that came during a freeze: kept, and judged in its order when the freeze ends."""

    subject: ClassVar[str] = "evt.change.held"
    owner: ClassVar[str] = "guardrail"

    change_id: str
    pipeline: str
    author: str
    freeze_id: str
    reason: str
    group_id: str | None = None


class GetFreezes(Query):
    """Answer: `{freezes: [{freeze_id, scope, name, reason, author, at}], generation, held}`; `held` counts kept proposals."""

    subject: ClassVar[str] = "api.guardrail.get_freezes"
    owner: ClassVar[str] = "guardrail"


class QuarantineRevision(Command):
    """Takes a revision out of use with everything made from it, without touching what serves. The same id again changes nothing.

    A revision that serves is refused unless `even_if_serving`: `RollbackPipeline` replaces and quarantines it in one go."""

    subject: ClassVar[str] = "cmd.guardrail.quarantine"
    owner: ClassVar[str] = "guardrail"
    signed: ClassVar[bool] = True

    quarantine_id: Identifier
    pipeline: PipelineName
    digest: str = Field(pattern=r"^[0-9a-f]{8,64}$")
    reason: str = Field(min_length=1, max_length=2000)
    author: Identifier
    even_if_serving: bool = False
    """Its pipeline then refuses every run, until another revision is deployed or it is released."""
    cancel_running: bool = False
    """Cancel runs that are under way on it; else they may finish."""


class RevisionQuarantined(Fact):
    subject: ClassVar[str] = "evt.revision.quarantined"
    owner: ClassVar[str] = "guardrail"

    quarantine_id: str
    pipeline: str
    digest: str
    quarantined: tuple[str, ...]
    """It and its descendants: no run may start on any of them."""
    reason: str
    author: str


class QuarantineRefused(Fact):
    """A quarantine or release that does not count."""

    subject: ClassVar[str] = "evt.quarantine.refused"
    owner: ClassVar[str] = "guardrail"

    request_id: str
    pipeline: str
    reason: str


class ReleaseRevision(Command):
    """Proposes to take one revision out of quarantine: a change that always waits for people. What was made from it stays in."""

    subject: ClassVar[str] = "cmd.guardrail.release"
    owner: ClassVar[str] = "guardrail"
    signed: ClassVar[bool] = True

    change_id: Identifier
    pipeline: PipelineName
    digest: str = Field(pattern=r"^[0-9a-f]{8,64}$")
    reason: str = Field(min_length=1, max_length=2000)
    author: Identifier


class GetKeys(Query):
    """Answer: `{signing, trusted: [...], revoked: [...], attested: {key id: approved revisions}, unproven: [...],
    faults: [...]}`.

    `unproven`: approved revisions under another key whose approval the audit log does not hold; they are not signed again. The
    policy in force counts as one more. `faults`: why nothing is signed again at all, where the audit log is not sound."""

    subject: ClassVar[str] = "api.guardrail.get_keys"
    owner: ClassVar[str] = "guardrail"


class KeysChanged(Fact):
    """What the guardrail found in its key files, and signed again because of it."""

    subject: ClassVar[str] = "evt.keys.changed"
    owner: ClassVar[str] = "guardrail"

    signing: str
    trusted: tuple[str, ...]
    revoked: tuple[str, ...]
    reattested: int = 0
    unproven: tuple[str, ...] = ()


def standing(freezes: Any) -> tuple[Freeze, ...]:
    """Of a stored freeze document, or of none."""
    return tuple(Freeze.model_validate(each) for each in (freezes or {}).get("freezes", ()))
