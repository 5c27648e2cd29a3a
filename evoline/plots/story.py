"""What a report tells of one search, wherever it ran."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from evoline.lineage.tree import NO_CANDIDATE, Lineage, build
from evoline.sealed_gain import SealedGain
from shared.events.trade_offs import TradeOffs
from shared.evidence.scores import score
from shared.search.watching import GainPoint

if TYPE_CHECKING:
    from evoline.optimization.outcome import Outcome


@dataclass(frozen=True)
class Story:
    title: str
    verdict: str
    gain: SealedGain | None
    """On sealed cases, also of what was rejected there; None where they were not looked at."""
    confidence: float
    """Of the gain's interval."""
    points: Sequence[GainPoint]
    budget: int
    spent: int
    best: str
    """Digest; empty where nothing was found."""
    seed: str
    trade_offs: TradeOffs
    lineage: Lineage
    reasons: Sequence[str]

    @property
    def best_is(self) -> str:
        """What `best` came to."""
        return "the best finalist, not proposed" if self.verdict == NO_CANDIDATE else "the one proposed"


def of_outcome(outcome: Outcome) -> Story:
    """Of a search in library mode."""
    evidence, entries = outcome.evidence, outcome.archive.entries
    seed = entries[0].candidate.digest if entries else ""
    candidates = [
        {
            "digest": entry.candidate.digest,
            "parent": entry.candidate.parent,
            "operator": entry.candidate.operator,
            "text": entry.candidate.text,
            "accepted": entry.accepted,
            "score": score(list(entry.grades.values()), "").model_dump(mode="json") if entry.grades else None,
            "on_front": any(member.digest == entry.candidate.digest for member in outcome.trade_offs.front),
        }
        for entry in entries
    ]
    end: dict[str, Any] = {"seed_digest": seed, "best_digest": evidence.best_digest, "verdict": outcome.verdict}
    claim = outcome.claim if outcome.verdict != "rejected" else None
    gain = SealedGain(*evidence.sealed_gain, claim) if evidence.sealed_gain else None
    if gain:
        end |= {"gain": gain.gain, "gain_low": gain.low, "gain_high": gain.high, "claim": claim}
    search = {"evolution_id": "search", "strategy": evidence.strategy, "created_at": "", "status": "finished"}
    return Story(
        title=f"{evidence.strategy}, seed number {evidence.seed_number}",
        verdict=outcome.verdict,
        gain=gain,
        confidence=1 - 2 * evidence.alpha,
        points=outcome.curve,
        budget=evidence.budget,
        spent=sum(evidence.spent.values()),
        best=evidence.best_digest,
        seed=seed,
        trade_offs=outcome.trade_offs,
        lineage=build(None, [{**search, **end, "candidates": candidates}], "search"),
        reasons=evidence.reasons,
    )


def of_evolution(record: Mapping[str, Any], lineage: Lineage) -> Story:
    """Of an evolution's record as the service tells it."""
    end = {**(record.get("pending") or {}), **(record.get("answer") or {})}
    command = record["command"]
    return Story(
        title=f"{record['pipeline']}, {command['strategy']}, {record['evolution_id']}",
        verdict=str(end.get("verdict") or record["status"]),
        gain=SealedGain.of(end),
        confidence=1 - 2 * float((record.get("gate") or {}).get("alpha") or 0.05),
        points=[GainPoint(**point) for point in record.get("curve") or ()],
        budget=command["evaluations"],
        spent=int(end.get("evaluations") or 0),
        best=str(end.get("best_digest") or ""),
        seed=str(end.get("seed_digest") or ""),
        trade_offs=TradeOffs.model_validate(record.get("trade_offs") or {}),
        lineage=lineage,
        reasons=tuple(end.get("reasons") or ()),
    )
