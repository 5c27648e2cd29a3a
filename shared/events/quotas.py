"""Budgets: what searches reserve and give back, what is left, and what a search would cost.

An account is `system`, or `<kind>:<name>`: `service:evolution`, `domain:support`, `pipeline:triage`, `group:<evolution>`,
`purpose:meta`, `production_domain:support`, `production_pipeline:triage`."""

from __future__ import annotations

from datetime import date
from typing import Annotated, Any, ClassVar, Literal

from pydantic import AfterValidator, Field, StringConstraints

from shared.events.message import Command, Fact, Part, Query, Value
from shared.events.values import Domain, Identifier, PipelineName, PipelineReference

MOST = 10**12
"""Of anything counted here: no sum of a day's answers leaves the numbers that the store can hold."""


def _of_the_calendar(day: str) -> str:
    try:
        date.fromisoformat(day)
    except ValueError as error:
        raise ValueError(f"there is no day {day}: {error}") from error
    return day


Day = Annotated[str, StringConstraints(pattern=r"^\d{4}-\d{2}-\d{2}$"), AfterValidator(_of_the_calendar)]
"""Of the calendar, as `2026-11-27`."""


class Spent(Part):
    """Amounts of what budgets count. `cost_usd` is exact to the millionth, seconds to the thousandth."""

    runs: int = Field(default=0, ge=0, le=MOST)
    calls: int = Field(default=0, ge=0, le=MOST)
    tokens: int = Field(default=0, ge=0, le=MOST)
    cost_usd: float = Field(default=0.0, ge=0, le=MOST)
    cpu_seconds: float = Field(default=0.0, ge=0, le=MOST)
    wall_seconds: float = Field(default=0.0, ge=0, le=MOST)


class CloseScope(Command):
    """The holder needs the scope no more: executors refuse it at once, and what it did not use is given back."""

    subject: ClassVar[str] = "cmd.guardrail.close_scope"
    owner: ClassVar[str] = "guardrail"
    signed: ClassVar[bool] = True

    scope_id: Identifier
    author: Identifier
    """The scope's holder."""
    reason: str = Field(default="", max_length=2000)


class ScopeClosed(Fact):
    """What the scope used stays charged; the rest is free again once no call of it is in flight."""

    subject: ClassVar[str] = "evt.scope.closed"
    owner: ClassVar[str] = "guardrail"

    scope_id: str
    holder: str
    reason: str = ""


class ScopeClosingRefused(Fact):
    """An order to close a scope that does not count: unknown scope, or somebody else's."""

    subject: ClassVar[str] = "evt.closing.refused"
    owner: ClassVar[str] = "guardrail"

    scope_id: str
    author: str
    reason: str


class SealScope(Query):
    """Asks executors to let nothing more happen under a scope that the guardrail closed, or that expired.

    Answer: `{scope_id, sealed, used: Spent, open_calls, open_tokens}`. Whoever asks, only the guardrail's own record of the scope
    decides; `open_calls` were begun before and are not settled yet."""

    subject: ClassVar[str] = "api.executor.seal_scope"
    owner: ClassVar[str] = "executor"

    scope_id: Identifier


class EstimateCost(Query):
    """What `runs` runs of a pipeline would use, without retries, beside what is left today: calls at most; tokens of its
    own prompts and longest answers, without what inputs and other steps insert, which nobody knows before.

    Answer: `{pipeline, runs, per_run: Spent, total: Spent, fits, runs_that_fit, short: [{account, resource, limit, left, asked,
    renews_at, text}], dearest_usd}`; `dearest_usd` is what a million tokens are reckoned to cost."""

    subject: ClassVar[str] = "api.guardrail.estimate_cost"
    owner: ClassVar[str] = "guardrail"

    pipeline: PipelineReference | None = None
    document: dict[str, Any] | None = None
    """Instead of `pipeline`."""
    runs: int = Field(default=1, ge=1, le=10_000_000)
    purpose: Literal["generation", "evolution", "meta", "production"] = "evolution"
    holder: Identifier = "evolution"
    domain: Domain | None = None
    """None takes the document's."""


class ListBudgets(Query):
    """Answer: `{day, renews_at, accounts: [{account, kind, used: Spent, reserved: Spent, limits: {resource: amount}, share}]}`, the
    fullest first. `share` is the part of its tightest limit that is used or reserved; null where nothing limits it."""

    subject: ClassVar[str] = "api.guardrail.list_budgets"
    owner: ClassVar[str] = "guardrail"

    day: Day | None = None
    """UTC; None is today."""
    account: str | None = Field(default=None, max_length=200)
    """Only this one."""
    limit: int = Field(default=100, ge=1, le=1000)


class ListReservations(Query):
    """Answer: `{day, reservations: [{reservation_id, holder, accounts, amounts: Spent, opened_at, lease_until}]}`, oldest first."""

    subject: ClassVar[str] = "api.guardrail.list_reservations"
    owner: ClassVar[str] = "guardrail"

    day: Day | None = None
    account: str | None = Field(default=None, max_length=200)
    limit: int = Field(default=100, ge=1, le=1000)


class LeaseQuota(Query):
    """An executor asks for a part of what production runs may use today, to hand it out run by run without asking again.

    Answer: `{lease_id, runs, amounts: Spent, seconds}`: `runs` times what was wanted for one, at least once; to be given back after
    `seconds`. An error `limit_reached` with limit `quota_exhausted` where not even one fits."""

    subject: ClassVar[str] = "api.guardrail.lease_quota"
    owner: ClassVar[str] = "guardrail"
    signed: ClassVar[bool] = True

    lease_id: Identifier
    holder: Identifier
    pipeline: PipelineName
    domain: Domain
    nested: bool = False
    """Inside another run, which is charged for it: only the pipeline's own quota counts."""
    per_run: Spent
    runs: int = Field(default=1, ge=1, le=10_000)
    """As many as would be useful."""


class QuotaLease(Part):
    """What an executor may hand out; nothing else is one."""

    lease_id: str
    runs: int = Field(ge=1)
    amounts: Spent
    seconds: float = Field(gt=0, le=3600)


class ProductionUse(Value):
    """What production runs of one pipeline used that no lease covers."""

    pipeline: PipelineName
    domain: Domain
    nested: bool = False
    used: Spent


class ReportUse(Query):
    """An executor gives leases back and tells what was used, with them and without. Answer: `{settled: [lease id, ...]}`.

    The same `report_id` counts once."""

    subject: ClassVar[str] = "api.guardrail.report_use"
    owner: ClassVar[str] = "guardrail"
    signed: ClassVar[bool] = True

    report_id: Identifier
    day: Day
    """UTC, on which the runs ended."""
    uses: tuple[ProductionUse, ...] = Field(default=(), max_length=2000)
    leases: dict[Identifier, Spent] = Field(default_factory=dict, max_length=2000)
    """Lease -> what was used of it; nothing runs on it any more."""


class CountLease(Query):
    """Answer: `{used: Spent, running}`: what runs used that were admitted under a lease, and how many of them have not ended."""

    subject: ClassVar[str] = "api.executor.count_lease"
    owner: ClassVar[str] = "executor"

    lease_id: Identifier
