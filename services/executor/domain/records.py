"""The run document and the journal entry, as the executor knows them."""

from __future__ import annotations

from datetime import datetime
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from services.executor.domain.quotas import RunQuota
from shared.errors import FencedError, InvalidInputError, PermanentError, Problem, UnavailableError
from shared.events.runs import ExecuteRun, ModelUse, RunFinished, RunStatus
from shared.events.values import Usage
from shared.pipeline.completion import Family
from shared.pipeline.step import StepResult

IMPORTED_SEQUENCE = -1
"""`command_sequence` of an imported run."""
LOCAL_SEQUENCE = 0
"""`command_sequence` of a nested run that its parent's executor runs itself: no command of the broker stands behind it."""


class RunFencedError(FencedError):
    """This owner lost the run: another one took it over. Not to be mixed up with a conversation's lost race."""


class StoreUnavailableError(UnavailableError):
    """The executor's own store or the broker did not answer for long. It says nothing about the step that met it: the run is given
    back and continued later."""


class ChangedDocumentError(PermanentError):
    """A journal made by one document is not continued by another."""

    code = "changed_document"


WHAT_IS_RUN = ("pipeline", "document", "inputs", "purpose", "tenant", "seed")
"""Fields of a command that decide what is run; two commands for one run must agree on them."""


def check_same_order(known: ExecuteRun, command: ExecuteRun) -> None:
    """Raises `InvalidInputError` where a run id is used for something else than the run that has it."""
    first, second = (order.model_dump(mode="json", include=set(WHAT_IS_RUN)) for order in (known, command))
    if differing := [name for name in WHAT_IS_RUN if first.get(name) != second.get(name)]:
        raise InvalidInputError(
            Problem(
                path="run_id",
                reason=f"{command.run_id} is the id of a run with another {', '.join(differing)}",
                suggestion="choose a new id for a new run",
            )
        )


class _Frozen(BaseModel):
    model_config = ConfigDict(frozen=True, allow_inf_nan=True)


Suspended = Literal["paused", "waiting"]


class Control(_Frozen):
    """What somebody did to a run from outside; kept with it."""

    verb: str
    author: str
    reason: str = ""
    at: datetime


class Imported(_Frozen):
    """Where a run comes from that another stack executed."""

    sha256: str
    """Of the file."""
    evoline: str
    """The version that wrote the file."""
    at: datetime
    redacted: tuple[str, ...] = ()
    """Places in the file where a secret was left out."""
    generation: int = 0
    """The run's when it came. Set going here, it is a run like any other."""


class RunRecord(_Frozen):
    """One run. Written twice: at the claim, and by the conditional finish; takeovers and suspensions are further writes."""

    run_id: str
    epoch: int = 1
    """Fencing token: raised by compare-and-set at each takeover; a write under an older one is refused."""
    status: Literal["running"] | Suspended | RunStatus = "running"
    command_sequence: int
    """Stream sequence of the command that owns the run."""
    command_attempt: int = 1
    """Delivery of that command that owns it."""
    command: ExecuteRun
    pipeline: str
    digest: str
    domain: str
    executor_id: str
    """The present owner."""
    claimed_by: str = ""
    """The first owner."""
    started_at: datetime
    queued_seconds: float = 0.0
    finished: RunFinished | None = None
    generation: int = 0
    """How often the run was set going again: resumed, woken or retried."""
    going_for: str = ""
    """The verb that set it going last."""
    retries: int = 0
    """How often it had ended before."""
    held_seconds: float = 0.0
    """Time since `started_at` that does not count as the run's: paused, or before a retry."""
    suspended_at: datetime | None = None
    suspended_until: datetime | None = None
    """Of a waiting run."""
    suspended_for: str = ""
    controls: tuple[Control, ...] = ()
    imported: Imported | None = None
    quota: RunQuota | None = None
    """What it holds of a production quota, where one is set."""

    @property
    def is_inert(self) -> bool:
        """Another stack executed it: here it is only kept."""
        return self.imported is not None and self.generation == self.imported.generation

    @property
    def is_suspended(self) -> bool:
        return self.status in ("paused", "waiting")

    def running_seconds(self, now: datetime) -> float:
        """Time that counts as the run's, up to `now`."""
        return max(0.0, (now - self.started_at).total_seconds() - self.held_seconds)


class SubmittedBatch(_Frozen):
    """Requests of a step that a provider's batch interface works on."""

    batch_id: str
    family: Family
    calls: int
    tokens: int
    """Reserved for it, as is `calls`."""


class JournalEntry(_Frozen):
    """One line of a run's append-only log. `claim` lines are fences, `step` lines finished steps, `wait` lines steps that are to be
    attempted again after the run gave its place away, `batch` lines steps that wait for a provider's batch."""

    run_id: str
    position: int
    epoch: int
    """The writer's; two owners never have the same."""
    executor_id: str
    kind: Literal["claim", "step", "wait", "batch"]
    path: str = ""
    type: str = ""
    result: StepResult | None = None
    usage: Usage = Usage()
    """What the step itself used, inner steps left out; attempts that failed included."""
    models: tuple[ModelUse, ...] = ()
    """Calls to models behind `usage`; of a wait, those so far."""
    nested_steps: int = 0
    """Steps that runs nested in this one executed."""
    variables: dict[str, Any] = Field(default_factory=dict)
    ends_run: bool = False
    """A limit of the run was reached here: `on_error` does not apply."""
    verb: str = ""
    """Of a claim: why the run goes on, where it is not because an owner was lost."""
    generation: int = 0
    """Of a claim with a verb: the run's."""
    discards: tuple[str, ...] = ()
    """Of a claim: finished steps that are executed again."""
    attempts: int = 0
    """Of a wait: attempts at the step so far."""
    until: datetime | None = None
    """Of a wait: not to be attempted before."""
    batch: SubmittedBatch | None = None
    at: datetime | None = None
