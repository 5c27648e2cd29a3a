"""Claims of promotions against what production shows of them. Pure."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from shared.events.gains import GainMethod, GainOutcome, GainRealised
from shared.evidence.independent import Difference, independent_difference

LOOKS = (30, 100, 300, 1000)
"""Scored runs of the promoted revision at which production is looked at, beside the end of a rollout."""
ALPHA = 0.05
LEAST = 20
"""Units with scored runs that each side needs; below, nothing is said about the gain."""
MANUAL = "manual"
STRATEGIES = frozenset(("climb", "genetic", "guided", "best_of", "experiment", MANUAL))
OTHER = "other"


@dataclass(frozen=True)
class Scored:
    """One production run whose answer somebody scored; one that failed is worth nothing."""

    digest: str
    arm: str
    score: float
    unit: str
    """User or session behind it; a run without one is its own unit."""


@dataclass(frozen=True)
class Side:
    """Runs that are compared: of a revision, in an arm of a rollout or wherever they ran."""

    digest: str
    arm: str = ""

    def scores(self, outcomes: Iterable[Scored]) -> list[Scored]:
        return [each for each in outcomes if each.digest == self.digest and self.arm in ("", each.arm)]


def sides_of(claim: Mapping[str, Any]) -> Mapping[GainMethod, tuple[Side, Side]]:
    """What can be compared, the better way first: the arms of a rollout ran at the same time."""
    new, old = claim["digest"], claim["incumbent"]
    return {"rollout": (Side(new, "canary"), Side(old, "control")), "before_after": (Side(new), Side(old))}


def realised(
    claim: Mapping[str, Any], outcomes: Sequence[Scored], served: Mapping[Side, int], *, left_out: int = 0
) -> GainRealised:
    """A look at everything that was scored so far, by units: a user's or session's runs are alike, so its mean counts once. Each
    end of the interval has its share of 5% over all looks. `served`: runs of each side, scored or not.
    `left_out`: older scored runs than these `outcomes`."""
    method, pair = _compared(claim, outcomes)
    scored = (pair[0].scores(outcomes), pair[1].scores(outcomes))
    ours, theirs = map(_means_of_units, scored)
    counts = {"units": len(ours), "units_before": len(theirs), "served": served[pair[0]], "served_before": served[pair[1]]}
    fact = _claimed(claim).model_copy(
        update={"runs": len(scored[0]), "runs_before": len(scored[1]), "left_out": left_out, **counts}
    )
    if min(len(ours), len(theirs)) < LEAST:
        seen = f"scored runs of {len(ours)} users or sessions of it and {len(theirs)} of the one before"
        reason = f"{seen}, {LEAST} each are needed (`evoline report`)"
        return fact.model_copy(update={"reasons": (reason, *_missing(fact))})
    found = independent_difference(ours, theirs, ALPHA / 2 / (len(LOOKS) + 1))
    outcome = _outcome(found, claim["gain_low"])
    numbers = {"realised": found.gain, "realised_low": found.low, "realised_high": found.high}
    reasons = (*_reasons(outcome, found, fact), *_missing(fact))
    return fact.model_copy(update={"outcome": outcome, "method": method, "reasons": reasons, **numbers})


def _claimed(claim: Mapping[str, Any]) -> GainRealised:
    return GainRealised(
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
        **claim.get("successes", {}),
    )


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


def _compared(claim: Mapping[str, Any], outcomes: Sequence[Scored]) -> tuple[GainMethod, tuple[Side, Side]]:
    """Arms of a rollout where they have enough; else everything that the two revisions did."""
    ways = list(sides_of(claim).items())
    enough = (way for way in ways if all(len(_means_of_units(side.scores(outcomes))) >= LEAST for side in way[1]))
    return next(enough, ways[-1])


def _means_of_units(scored: Iterable[Scored]) -> list[float]:
    units: dict[str, list[float]] = defaultdict(list)
    for each in scored:
        units[each.unit].append(each.score)
    return [_mean(scores) for scores in units.values()]


def _missing(fact: GainRealised) -> tuple[str, ...]:
    """Whoever scores only what went well, or badly, sees another gain than there is; nobody can tell from here."""
    cut = (f"the oldest {fact.left_out} scored runs were left out: only the newest are compared",) if fact.left_out else ()
    if fact.runs >= fact.served and fact.runs_before >= fact.served_before:
        return cut
    shares = f"{fact.runs} of {fact.served} runs of it and {fact.runs_before} of {fact.served_before} of the one before"
    return (*cut, f"only {shares} were scored: how good the others were is not known")


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
