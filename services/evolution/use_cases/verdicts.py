"""What the guardrail says to the candidates that evolution proposed."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from services.evolution.domain.records import Decision, concluded, outcome_of
from services.evolution.use_cases.bound import Effects, Evolution
from shared.errors import NotFoundError
from shared.events.changes import ChangeApproved, ChangeQueued, GateFinished
from shared.events.improvement import GetEvolution

_MOST_CANDIDATES = 200
_HIDDEN = ("_id", "fingerprint", "proposal", "pending", "borrowed", "lent", "scope", "scope_at", "given_up", "stopped")


async def record_gate(fact: GateFinished, at: Evolution) -> Effects:
    """Kept until the change is decided."""
    record = await at.evolutions.of_change(fact.change_id)
    if record is not None:
        await at.evolutions.update(record["_id"], {"gate": fact.model_dump(mode="json")})
    return []


async def record_verdict(decision: Decision, at: Evolution) -> Effects:
    """Ends the evolution whose change it is. A change that people decide ends it twice: queued, then their verdict.

    Raises `UnavailableError` where the gate's numbers are not here yet, or it was approved, and the guardrail does not answer."""
    record = await at.evolutions.of_change(decision.change_id)
    if record is None:
        return []
    decided = record.get("decision", "")
    if isinstance(decision, ChangeQueued) and decided not in ("", "queued"):
        return []  # out of order: people were faster than this fact
    gate = record.get("gate") or await at.custodian.gate_of(decision.change_id)
    seconds = (at.clock.now() - datetime.fromisoformat(record["created_at"])).total_seconds()
    rollout_id = await at.custodian.rollout_of(decision.change_id) if isinstance(decision, ChangeApproved) else ""
    answer = concluded(record["pending"], gate, decision, seconds, rollout_id)
    outcome = outcome_of(decision)
    fields = {"status": "finished", "decision": outcome, "gate": gate, "answer": answer.model_dump(mode="json")}
    await at.evolutions.update(record["_id"], fields)
    return [(f"finished:{outcome}", answer)]


async def forget(digests: Sequence[str], at: Evolution) -> Effects:
    """Of revisions that were taken back: nothing measured of them is used again, and searches that began with one end at their next
    measurement."""
    await at.evolutions.quarantine(digests)
    await at.cache.forget(digests)
    return []


async def read_evolution(query: GetEvolution, at: Evolution) -> dict[str, Any]:
    """The record with its candidates, documents left out. Raises `NotFoundError`."""
    record = await at.evolutions.get(query.evolution_id)
    if record is None:
        raise NotFoundError(f"no evolution {query.evolution_id!r}")
    shown = {key: value for key, value in record.items() if key not in _HIDDEN}
    if began_with := shown.pop("stable", None):
        shown["stable"] = began_with["digest"]
    candidates = await at.evolutions.candidates(query.evolution_id, _MOST_CANDIDATES)
    return {"evolution_id": record["_id"], **shown, "candidates": candidates}
