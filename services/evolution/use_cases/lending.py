"""What a search may take steps from besides its own pipeline: other pipelines that its order names, and learned templates of its
domain. As they were when it began, so that a search that goes on after a crash comes to the same archive."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from services.evolution.use_cases.bound import Effects, Evolution
from shared.events.improvement import StartEvolution, TemplateLearned
from shared.pipeline.loading import load_document
from shared.search.candidates import Lent

MOST_TEMPLATES = 8
"""Lent to one search. With as many pipelines no candidate has more origins than a change may name."""


@dataclass(frozen=True)
class Lenders:
    donors: tuple[Lent, ...] = ()
    templates: tuple[Lent, ...] = ()


async def lenders_of(command: StartEvolution, domain: str, at: Evolution) -> Lenders:
    """On record before anything is measured. Raises `NotFoundError` where an order names a pipeline that does not serve."""
    record = await at.evolutions.get(command.evolution_id) or {}
    missing = await _asked(command, domain, record, at)
    if missing:
        await at.evolutions.update(command.evolution_id, missing)
    record = {"borrowed": [], "lent": [], **record, **missing}
    donors = tuple(Lent(each["digest"], load_document(each["document"]).canonical()) for each in record["borrowed"])
    return Lenders(donors, tuple(Lent(each["digest"], each["document"]) for each in record["lent"]))


async def _asked(command: StartEvolution, domain: str, record: Mapping[str, Any], at: Evolution) -> dict[str, Any]:
    """What is not on record yet. A search that an earlier version began has asked for its scope, and is lent no templates."""
    found: dict[str, Any] = {}
    if command.borrow_from and "borrowed" not in record:
        stable = [await at.custodian.stable(name) for name in command.borrow_from if name != command.pipeline]
        found["borrowed"] = [{"digest": each.digest, "document": each.document} for each in stable]
    if "lent" not in record and "scope" not in record:
        found["lent"] = await _templates(domain, at)
    return found


async def _templates(domain: str, at: Evolution) -> Sequence[dict[str, Any]]:
    """Those whose source measured best, without what was taken back."""
    known = await at.templates.of_domain(domain)
    out = set(await at.evolutions.quarantined([each["digest"] for each in known]))
    usable = sorted((each for each in known if each["digest"] not in out), key=lambda each: (-each["score"], each["digest"]))
    return [{"digest": each["digest"], "document": each["document"]} for each in usable[:MOST_TEMPLATES]]


async def remember_template(fact: TemplateLearned, at: Evolution) -> Effects:
    """Lent to searches that begin from now on."""
    score = fact.score.low if fact.score else 0.0
    await at.templates.learn(fact.digest, {"domain": fact.domain, "document": fact.document, "score": score})
    return []
