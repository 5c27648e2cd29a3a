"""What is remembered of an evolution, and the facts that end it."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from typing import Any

from shared.errors import InvalidInputError, PermanentError, Problem
from shared.events.changes import ChangeApproved, ChangeQueued, ChangeVetoed
from shared.events.experiments import StartExperiment
from shared.events.improvement import EvolutionFinished, StartEvolution, StopEvolution
from shared.events.message import Command
from shared.evidence import score
from shared.search.candidates import Archive, Candidate, Entry
from shared.search.changes import changes
from shared.search.niches import niche_of
from shared.search.objectives import MEASURES, mean_use
from shared.search.watching import Watch

Decision = ChangeApproved | ChangeQueued | ChangeVetoed
LONGEST_LINEAGE = 50
MOST_SO_FAR = 200
"""Candidates that are told of a search while it goes on."""
_LONGEST_TEXT = 300
GAIN = ("gain", "gain_low", "gain_high", "claim")
"""What the end of a search tells of the gate's numbers."""
_OUTCOMES: Mapping[type[Decision], str] = {ChangeApproved: "approved", ChangeQueued: "queued", ChangeVetoed: "vetoed"}


def fingerprint(command: Command) -> str:
    """The same for the same order: two orders under one id are a mistake."""
    return hashlib.sha256(command.model_dump_json().encode()).hexdigest()


def opened(record_id: str, command: StartEvolution | StartExperiment, now: str) -> dict[str, Any]:
    """What is remembered of either from the start."""
    return {
        "_id": record_id,
        "fingerprint": fingerprint(command),
        "command": command.model_dump(mode="json"),
        "pipeline": command.pipeline,
        "created_at": now,
    }


def new_record(command: StartEvolution, now: str) -> dict[str, Any]:
    """Status: `searching`, `proposed`, then `finished`."""
    return {**opened(command.evolution_id, command, now), "status": "searching"}


def problems_of(error: PermanentError) -> Sequence[Problem]:
    """What is wrong, for the one who ordered it."""
    return error.problems if isinstance(error, InvalidInputError) else [Problem(reason=str(error))]


def refused(problems: Sequence[Problem], seconds: float) -> dict[str, Any]:
    """What the ends of both say of a refusal."""
    return {"reasons": tuple(str(problem) for problem in problems), "problems": tuple(problems), "seconds": seconds}


def told_as(decision: Decision, gate: Mapping[str, Any]) -> str:
    """The gate's verdict, where that is what became of it: what it did not reject, somebody else may have vetoed."""
    if isinstance(decision, ChangeQueued):
        return "queued"
    if isinstance(decision, ChangeVetoed):
        return "rejected" if gate.get("verdict") == "rejected" else "vetoed"
    return str(gate.get("verdict", "canary"))


def decided(
    pending: Mapping[str, Any], gate: Mapping[str, Any], decision: Decision, seconds: float, rollout_id: str
) -> dict[str, Any]:
    """What the ends of both say of a candidate that was proposed. What a rollout brings in is not deployed yet."""
    reasons = [*pending.get("reasons", ()), *(gate.get("reasons") or ()), *decision.reasons]
    return {
        **pending,
        **{key: gate[key] for key in GAIN if key in gate},
        "gate_verdict": gate.get("verdict", ""),
        "vetoed_by": decision.vetoed_by if isinstance(decision, ChangeVetoed) else "",
        "rollout_id": rollout_id,
        "deployed": isinstance(decision, ChangeApproved) and not rollout_id,
        "reasons": list(dict.fromkeys(reasons)),
        "seconds": seconds,
    }


def refusal(command: StartEvolution, problems: Sequence[Problem], seconds: float) -> EvolutionFinished:
    return EvolutionFinished(
        evolution_id=command.evolution_id,
        pipeline=command.pipeline,
        verdict="refused",
        **refused(problems, seconds),
    )


def stopped(record: Mapping[str, Any], command: StopEvolution, seconds: float) -> EvolutionFinished:
    progress = record.get("progress", {})
    return EvolutionFinished(
        evolution_id=record["_id"],
        pipeline=record["pipeline"],
        verdict="stopped",
        strategy=record["command"]["strategy"],
        evaluations=progress.get("evaluations", 0),
        candidates=progress.get("candidates", 0),
        reasons=(f"stopped by {command.author}: {command.reason}",),
        seconds=seconds,
    )


def lineage(archive: Archive, grader_hash: str) -> tuple[dict[str, Any], ...]:
    """The accepted candidates, oldest first, the latest ones where there are many."""
    accepted = [entry for entry in archive.entries if entry.accepted]
    return tuple(_line(archive, entry, grader_hash) for entry in [*accepted[:1], *accepted[1:][-LONGEST_LINEAGE:]])


def candidate_rows(archive: Archive, grader_hash: str) -> list[dict[str, Any]]:
    return [
        {
            "digest": entry.candidate.digest,
            "birth": birth,
            "parent": entry.candidate.parent,
            **_origins(entry.candidate),
            "operator": entry.candidate.operator,
            "text": entry.candidate.text,
            "changes": _changes(archive, entry),
            "accepted": entry.accepted,
            "mean": entry.mean,
            "cases": len(entry.grades),
            "niche": niche_of(entry) if entry.grades else "",
            "use": {name: mean[0] for name in MEASURES if (mean := mean_use(entry, name))},
            "score": score(list(entry.grades.values()), grader_hash).model_dump(mode="json"),
            "document": dict(entry.candidate.document),
        }
        for birth, entry in enumerate(archive.entries)
    ]


def rows_so_far(watch: Watch, grader_hash: str) -> tuple[list[dict[str, Any]], int]:
    """(candidates of a search that goes on, in order of birth; how many are left out): all that it took on, then the latest."""
    births = list(enumerate(entry for entry in watch.entries.values() if entry.grades))
    told = {watch.seed.digest, *watch.taken_on}
    first = [each for each in births if each[1].candidate.digest in told][-MOST_SO_FAR:]
    others = [each for each in births if each[1].candidate.digest not in told]
    room = MOST_SO_FAR - len(first)
    chosen = sorted([*first, *(others[-room:] if room else [])], key=lambda each: each[0])
    rows = [
        {
            "digest": entry.candidate.digest,
            "birth": birth,
            "parent": entry.candidate.parent,
            **_origins(entry.candidate),
            "operator": entry.candidate.operator,
            "text": entry.candidate.text[:_LONGEST_TEXT],
            "accepted": entry.candidate.digest in told,
            "score": score(list(entry.grades.values()), grader_hash).model_dump(mode="json"),
        }
        for birth, entry in chosen
    ]
    return rows, len(births) - len(rows)


def _origins(candidate: Candidate) -> dict[str, list[str]]:
    """Nothing of a candidate that took nothing from elsewhere."""
    return {"origins": list(candidate.origins)} if candidate.origins else {}


def _changes(archive: Archive, entry: Entry) -> list[str]:
    """Against the parent, where it is in the archive."""
    parent = entry.candidate.parent
    return changes(archive[parent].candidate.document, entry.candidate.document) if parent in archive else []


def outcome_of(decision: Decision) -> str:
    return _OUTCOMES[type(decision)]


def concluded(
    pending: Mapping[str, Any], gate: Mapping[str, Any] | None, decision: Decision, seconds: float, rollout_id: str = ""
) -> EvolutionFinished:
    """The end of an evolution whose candidate was proposed."""
    found = decided(pending, gate or {}, decision, seconds, rollout_id)
    if not gate:
        found["reasons"].append("the change was decided without a look at the sealed cases")
    return EvolutionFinished.model_validate({**found, "verdict": told_as(decision, gate or {})})


def _line(archive: Archive, entry: Entry, grader_hash: str) -> dict[str, Any]:
    candidate = entry.candidate
    return {
        "digest": candidate.digest,
        "parent": candidate.parent,
        **_origins(candidate),
        "operator": candidate.operator,
        "text": candidate.text,
        "changes": _changes(archive, entry),
        "score": score(list(entry.grades.values()), grader_hash).model_dump(mode="json"),
    }
