"""Claims of promotions against what production shows of them. Pure."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from shared.events.gains import GainOutcome, GainRealised
from shared.evidence.independent import Difference, independent_difference

LOOKS = (30, 100, 300, 1000)
"""Scored runs of the promoted revision at which production is looked at, beside the end of a rollout."""
ALPHA = 0.05
LEAST = 20
"""Scored runs that each side needs; below, nothing is said about the gain."""
MANUAL = "manual"
STRATEGIES = frozenset(("climb", "genetic", "guided", "best_of", "experiment", MANUAL))
OTHER = "other"


@dataclass(frozen=True)
class Scored:
    """One production run whose answer somebody scored; one that failed is worth nothing."""

    digest: str
    arm: str
    score: float


def realised(claim: Mapping[str, Any], outcomes: Iterable[Scored]) -> GainRealised:
    """A look at everything that was scored so far. Each end of the interval has its share of 5% over all looks."""
    method, ours, theirs = _sides(claim, list(outcomes))
    fact = GainRealised(
        change_id=claim["_id"],
        pipeline=claim["pipeline"],
        digest=claim["digest"],
        incumbent=claim["incumbent"],
        strategy=claim.get("strategy") or MANUAL,
        operator=claim.get("operator") or "",
        outcome="no_data",
        claimed=claim.get("claim", claim["gain"]),
        seen=claim["gain"],
        claimed_low=claim["gain_low"],
        claimed_high=claim["gain_high"],
        runs=len(ours),
        runs_before=len(theirs),
        **claim.get("successes", {}),
    )
    if min(len(ours), len(theirs)) < LEAST:
        reason = f"{len(ours)} scored runs of it and {len(theirs)} of the one before, {LEAST} each are needed (`evoline report`)"
        return fact.model_copy(update={"reasons": (reason,)})
    found = independent_difference(ours, theirs, ALPHA / 2 / (len(LOOKS) + 1))
    outcome = _outcome(found, claim["gain_low"])
    numbers = {"realised": found.gain, "realised_low": found.low, "realised_high": found.high}
    return fact.model_copy(update={"outcome": outcome, "method": method, "reasons": _reasons(outcome, found, fact), **numbers})


def look_due(scored: int, looks: Sequence[int]) -> int:
    """The look that so many scored runs are enough for and that was not taken yet; 0 where there is none."""
    return max((look for look in LOOKS if look <= scored and look > max(looks, default=0)), default=0)


def standing(facts: Sequence[GainRealised]) -> list[dict[str, Any]]:
    """The record by strategy and operator: seen, claimed and realised gain over the same claims, those with data."""
    groups: dict[tuple[str, str], list[GainRealised]] = defaultdict(list)
    for fact in facts:
        groups[fact.strategy, fact.operator].append(fact)
    return [_line(strategy, operator, found) for (strategy, operator), found in sorted(groups.items())]


def gains_by_strategy(facts: Sequence[GainRealised]) -> dict[tuple[str, str], float]:
    """(strategy, `claimed` or `realised`) -> mean gain in points over the claims with data. Names are few: others are `other`."""
    groups: dict[str, list[GainRealised]] = defaultdict(list)
    for fact in facts:
        if fact.realised is not None:
            groups[fact.strategy if fact.strategy in STRATEGIES else OTHER].append(fact)
    return {
        (strategy, kind): 100 * _mean([each.claimed if kind == "claimed" else each.realised or 0.0 for each in found])
        for strategy, found in groups.items()
        for kind in ("claimed", "realised")
    }


def _sides(claim: Mapping[str, Any], outcomes: Sequence[Scored]) -> tuple[str, list[float], list[float]]:
    """Arms of a rollout where they have enough, since they ran at the same time; else everything that the two revisions did."""
    new, old = claim["digest"], claim["incumbent"]
    canary = [each.score for each in outcomes if each.digest == new and each.arm == "canary"]
    control = [each.score for each in outcomes if each.digest == old and each.arm == "control"]
    if min(len(canary), len(control)) >= LEAST:
        return "rollout", canary, control
    after = [each.score for each in outcomes if each.digest == new]
    return "before_after", after, [each.score for each in outcomes if each.digest == old]


def _outcome(found: Difference, claimed_low: float) -> GainOutcome:
    if found.high < claimed_low or found.high < 0:
        return "contradicted"
    return "confirmed" if found.low > 0 else "undecided"


def _reasons(outcome: GainOutcome, found: Difference, fact: GainRealised) -> tuple[str, ...]:
    seen = f"production shows {found.gain:+.3f} [{found.low:+.3f}, {found.high:+.3f}]"
    interval = f"[{fact.claimed_low:+.3f}, {fact.claimed_high:+.3f}]"
    claimed = f"claimed {fact.claimed:+.3f} {interval}, of {fact.seen:+.3f} seen"
    said = {
        "contradicted": f"{seen}, below what was {claimed}",
        "confirmed": f"{seen}, {claimed}",
        "undecided": f"{seen}: neither shown to gain nor to fall short of what was {claimed}",
    }
    return (said[outcome],)


def _line(strategy: str, operator: str, found: Sequence[GainRealised]) -> dict[str, Any]:
    shown = [each for each in found if each.realised is not None]
    return {
        "strategy": strategy,
        "operator": operator,
        "claims": len(found),
        "with_data": len(shown),
        "seen": _mean([each.claimed if each.seen is None else each.seen for each in shown]) if shown else None,
        "claimed": _mean([each.claimed for each in shown]) if shown else None,
        "realised": _mean([each.realised or 0.0 for each in shown]) if shown else None,
        "outcomes": dict(sorted(Counter(each.outcome for each in found).items())),
    }


def _mean(values: Sequence[float]) -> float:
    return sum(values) / len(values)
