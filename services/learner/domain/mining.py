"""Patterns by counting: support, pooled success with its interval, and lift within the same task."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from services.learner.domain.features import Feature, features_of
from shared.events.improvement import Pattern
from shared.events.message import derive_id
from shared.events.values import Score
from shared.evidence.scores import CONFIDENCE_Z, wilson_interval

MINIMUM_SUPPORT = 2
MOST_PATTERNS = 40


@dataclass(frozen=True)
class ScoredRevision:
    digest: str
    pipeline: str
    domain: str
    group: str
    """Request or evolution that it was measured in: scores compare within one group only."""
    document: Mapping[str, Any]
    score: Score
    parameters: Mapping[str, Any]


def mine(revisions: Sequence[ScoredRevision], minimum_support: int = MINIMUM_SUPPORT) -> tuple[Pattern, ...]:
    """Patterns seen in at least `minimum_support` revisions, largest absolute lift first.

    A feature that all revisions of all groups share has no lift to speak of and is left out."""
    features = {revision.digest: features_of(revision.document) for revision in revisions}
    carriers: dict[Feature, list[ScoredRevision]] = defaultdict(list)
    for revision in revisions:
        for feature in features[revision.digest]:
            carriers[feature].append(revision)
    found = []
    for feature, having in carriers.items():
        lift = _lift(feature, revisions, features)
        if len(having) >= minimum_support and lift is not None:
            found.append(_pattern(feature, having, lift))
    return tuple(sorted(found, key=lambda pattern: (-abs(pattern.lift), -pattern.support, pattern.text))[:MOST_PATTERNS])


def _lift(feature: Feature, revisions: Sequence[ScoredRevision], features: Mapping[str, frozenset[Feature]]) -> float | None:
    """Mean score with the feature minus mean score without, averaged over groups that have both, weighted by their size."""
    groups: dict[str, tuple[list[float], list[float]]] = defaultdict(lambda: ([], []))
    for revision in revisions:
        groups[revision.group][0 if feature in features[revision.digest] else 1].append(revision.score.mean)
    compared = [
        (_mean(having) - _mean(lacking), len(having) + len(lacking)) for having, lacking in groups.values() if having and lacking
    ]
    weight = sum(size for _, size in compared)
    return sum(difference * size for difference, size in compared) / weight if weight else None


def _pattern(feature: Feature, having: Sequence[ScoredRevision], lift: float) -> Pattern:
    cases = sum(revision.score.cases for revision in having)
    rate = sum(revision.score.mean * revision.score.cases for revision in having) / cases if cases else 0.0
    low, high = wilson_interval(rate, cases, CONFIDENCE_Z)
    return Pattern(
        pattern_id=derive_id(feature.kind, feature.text)[:12],
        kind=feature.kind,
        text=feature.text,
        support=len(having),
        success_rate=rate,
        low=low,
        high=high,
        lift=lift,
        domains=tuple(sorted({revision.domain for revision in having})),
        provenance=tuple(sorted(revision.digest for revision in having)),
    )


def _mean(values: Sequence[float]) -> float:
    return sum(values) / len(values)
