"""Realised gain: what a promotion claimed, and what production shows of it."""

from __future__ import annotations

from typing import ClassVar, Literal

from pydantic import Field

from shared.events.message import Fact, Query
from shared.events.values import PipelineName

GainOutcome = Literal["no_data", "confirmed", "contradicted", "undecided"]
GainMethod = Literal["rollout", "before_after", "none"]


class GainRealised(Fact):
    """One look at how the answers of a promoted revision were scored in production, beside those of the revision that it replaced.

    `no_data`: runs of too few units of either were scored, which says nothing about the gain. `confirmed`: shown better in
    production; `contradicted`: shown to gain less than the least that the claim's interval allows."""

    subject: ClassVar[str] = "evt.gain.realised"
    owner: ClassVar[str] = "learner"

    change_id: str
    pipeline: str
    digest: str
    incumbent: str
    strategy: str
    """Of the search that found it, `experiment`, or `manual`."""
    operator: str = ""
    outcome: GainOutcome
    claimed: float
    """The likeliest gain given that the gate's test was passed (`GateFinished.claim`)."""
    seen: float | None = None
    """The gain as the gate saw it on the sealed cases; None in facts of before the two were told apart: there `claimed` is it."""
    claimed_low: float
    claimed_high: float
    """The gate's interval."""
    method: GainMethod = "none"
    """`rollout`: canary against control at the same time. `before_after`: drift in between counts too."""
    realised: float | None = None
    realised_low: float | None = None
    realised_high: float | None = None
    """95% over all looks together."""
    runs: int = 0
    """Scored runs of the promoted revision."""
    runs_before: int = 0
    """Of the one that it replaced."""
    units: int = 0
    """Users or sessions behind `runs`; a run without one is its own. Each counts once, with the mean of its runs."""
    units_before: int = 0
    served: int = 0
    """Production runs of the promoted revision that are remembered, scored or not."""
    served_before: int = 0
    left_out: int = 0
    """Scored runs of both, older than those that were compared."""
    success_gain: float | None = None
    """Difference of the shares of runs that succeeded, as the rollout saw it: no measure of how good answers are."""
    success_gain_low: float | None = None
    success_gain_high: float | None = None
    reasons: tuple[str, ...] = ()


class GetStrategies(Query):
    """Answer: `{strategies: [{strategy, operator, claims, with_data, seen, claimed, realised, outcomes: {outcome: n}}], claims}`,
    the latest `GainRealised` of each claim, newest first; `seen`, `claimed` and `realised` are means over the same claims, those
    with data, null where there are none."""

    subject: ClassVar[str] = "api.learner.strategies"
    owner: ClassVar[str] = "learner"

    pipeline: PipelineName | None = None
    limit: int = Field(default=50, ge=1, le=500)
