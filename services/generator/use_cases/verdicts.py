"""What the guardrail and the learner say to the generator."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from services.generator.domain.templates import Template
from services.generator.use_cases.bound import Effects, Generator
from shared.events.changes import ChangeApproved, ChangeQueued, ChangeVetoed
from shared.events.generation import RequestFinished
from shared.events.improvement import TemplateLearned

Verdict = ChangeApproved | ChangeQueued | ChangeVetoed


async def record_verdict(verdict: Verdict, at: Generator) -> Effects:
    """Ends the request that the change belongs to. A change that people decide ends it twice: queued, then their verdict."""
    record = await at.requests.get(verdict.group_id) if verdict.group_id else None
    if record is None or record.get("change_id") != verdict.change_id:
        return []
    outcome = {ChangeApproved: "approved", ChangeQueued: "queued", ChangeVetoed: "vetoed"}[type(verdict)]
    created = record["created_at"]
    seconds = (at.clock.now() - _parsed(created)).total_seconds()
    answer = RequestFinished.model_validate(
        {**record["pending"], "outcome": outcome, "reasons": verdict.reasons, "digest": verdict.digest, "seconds": seconds}
    )
    if record["status"] in {"approved", "vetoed"} and outcome == "queued":
        return []  # out of order: people were faster than this fact
    await at.requests.update(
        record["_id"], {"status": outcome, "answer": answer.model_dump(mode="json"), "finished_at": at.clock.now().isoformat()}
    )
    return [(f"finished:{outcome}", answer)]


def _parsed(text: str) -> datetime:
    return datetime.fromisoformat(text)


async def learn_template(fact: TemplateLearned, at: Generator) -> Effects:
    await at.library.learn(Template(fact.template, f"learned:{fact.digest}", fact.document), fact.digest, fact.domain)
    return []


async def forget_templates(digests: Sequence[str], at: Generator) -> Effects:
    await at.library.revoke(digests)
    return []
