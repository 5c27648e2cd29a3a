"""From finished requests and the learner: which ways of finding pipelines there are, and how each has fared."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import Any

from shared.events.generation import ListRequests
from shared.events.improvement import GetKnowledge
from shared.store_inputs.stores import MOST_REQUESTS, Stores

MINING = "pattern_mining"
UNUSABLE = frozenset(("invalid", "failed", "timed_out"))
_Reports = Sequence[Mapping[str, Any]]


async def learning_strategies(at: Stores) -> list[dict[str, Any]]:
    """The strategies that drafted candidates for requests, with what they drafted from, and the learner's own."""
    drafted = [
        {"strategy": name, "candidates": len(reports), "origins": sorted({str(each["origin"]) for each in reports})[: at.most]}
        for name, reports in (await _by_strategy(at)).items()
    ]
    knowledge = await at.questions.ask(GetKnowledge(domain=at.domain, limit=500))
    templates = [str(each.get("name", "")) for each in knowledge.get("templates", [])]
    return [*drafted, {"strategy": MINING, "patterns": len(knowledge.get("patterns", [])), "templates": templates[: at.most]}]


async def strategy_metrics(at: Stores) -> list[dict[str, Any]]:
    """How each strategy's candidates did in their trials, and the mined patterns with the largest measured lift."""
    drafted = [_fared(name, reports) for name, reports in (await _by_strategy(at)).items()]
    patterns = await at.rows(GetKnowledge(domain=at.domain, limit=500), "patterns")
    strongest = sorted(patterns, key=lambda each: -abs(each.get("lift", 0.0)))[: at.most]
    mined = [{"text": each["text"], "lift": round(each["lift"], 4), "support": each["support"]} for each in strongest]
    return [*drafted, {"strategy": MINING, "strongest_patterns": mined}]


async def _by_strategy(at: Stores) -> dict[str, _Reports]:
    """Candidate reports of the latest finished requests by strategy."""
    found: dict[str, list[Mapping[str, Any]]] = defaultdict(list)
    for request in await at.rows(ListRequests(limit=MOST_REQUESTS), "requests"):
        if at.domain in (None, request.get("domain")):
            for report in (request.get("answer") or {}).get("candidates", []):
                found[str(report["strategy"])].append(report)
    return dict(sorted(found.items()))


def _fared(strategy: str, reports: _Reports) -> dict[str, Any]:
    trials = [report["trial"]["mean"] for report in reports if report.get("trial")]
    return {
        "strategy": strategy,
        "candidates": len(reports),
        "proposed": sum(report["outcome"] == "proposed" for report in reports),
        "unusable": sum(report["outcome"] in UNUSABLE for report in reports),
        "trial_mean": round(sum(trials) / len(trials), 4) if trials else None,
        "trial_best": round(max(trials), 4) if trials else None,
        "tokens": sum(report.get("tokens", 0) for report in reports),
    }
