"""What was measured is remembered, counted, and made into templates that the guardrail judges."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from services.learner.domain.mining import ScoredRevision, mine
from services.learner.domain.synthesis import Blueprint, blueprint
from services.learner.ports import KnowledgeStore, SeedTemplates
from shared.clock import Clock
from shared.events.changes import ChangeApproved, Evidence, ProposeChange
from shared.events.improvement import GetKnowledge, LearnFromRuns, Pattern, PatternsMined, PipelineScored, TemplateLearned
from shared.events.message import Message, derive_id
from shared.events.runs import RunFinished
from shared.events.values import Score

Effects = list[tuple[str, Message]]
RUNS_KEPT = timedelta(days=365)
"""As long as their outcomes, so that what was scored is a share of what was served."""


@dataclass(frozen=True)
class Learner:
    store: KnowledgeStore
    seeds: SeedTemplates
    clock: Clock


async def remember_score(fact: PipelineScored, at: Learner) -> Effects:
    await at.store.add_revision(
        ScoredRevision(
            digest=fact.digest,
            pipeline=fact.pipeline,
            domain=fact.domain,
            group=fact.group_id or fact.pipeline,
            document=fact.document,
            score=fact.score,
            parameters=fact.parameters,
        )
    )
    return []


async def remember_run(run: RunFinished, at: Learner) -> Effects:
    if run.digest and not run.replayed and not run.faulted:
        await at.store.count_run(run.end_id, run.digest, run.status == "succeeded", at.clock.now())
    return []


async def forget_runs(at: Learner) -> int:
    """A run is not told again after so long, so that it is not counted twice."""
    return await at.store.forget_runs(at.clock.now(), RUNS_KEPT)


async def learn_from_runs(command: LearnFromRuns, at: Learner) -> Effects:
    """`PatternsMined`, and a template proposal where one is worth it."""
    revisions = await at.store.revisions(command.domain)
    patterns = mine(revisions)
    await at.store.save_patterns(command.learning_id, patterns, at.clock.now().isoformat())
    known = [*at.seeds.documents(), *[record["document"] for record in await at.store.templates(limit=500)]]
    plan = blueprint(revisions, patterns, known)
    mined = PatternsMined(
        learning_id=command.learning_id,
        revisions=len(revisions),
        runs=await at.store.runs(),
        patterns=patterns,
        reasons=(plan.reason,) if plan.reason else (),
    )
    if plan.document is None:
        return [("mined", mined)]
    proposal = _proposal(command, plan, revisions, patterns)
    await at.store.propose_template(
        proposal.change_id,
        {
            "name": proposal.pipeline,
            "document": proposal.document,
            "domain": _source(plan, revisions).domain,
            "support": len([r for r in revisions if r.digest == plan.source_digest]),
            "score": _source(plan, revisions).score.model_dump(mode="json"),
            "source_digest": plan.source_digest,
            "status": "proposed",
        },
    )
    return [("mined", mined.model_copy(update={"template_change_id": proposal.change_id})), ("template", proposal)]


def _source(plan: Blueprint, revisions: Sequence[ScoredRevision]) -> ScoredRevision:
    return next(revision for revision in revisions if revision.digest == plan.source_digest)


def _proposal(
    command: LearnFromRuns, plan: Blueprint, revisions: Sequence[ScoredRevision], patterns: Sequence[Pattern]
) -> ProposeChange:
    document = plan.document or {}
    source = _source(plan, revisions)
    strongest = "; ".join(f"{pattern.text} ({pattern.lift:+.2f})" for pattern in patterns[:3])
    return ProposeChange(
        change_id=derive_id(command.learning_id, "template"),
        kind="template",
        pipeline=document["name"],
        document=document,
        domain="library",
        author="learner",
        reason=f"made from {source.pipeline}@{source.digest[:8]}, the best of {len(revisions)} measured revisions",
        evidence=(Evidence(kind="mining", text=f"strongest patterns: {strongest or 'none'}", score=source.score),),
        parent_digest=source.digest,
        deploy=False,
        group_id=command.learning_id,
    )


async def adopt_template(fact: ChangeApproved, at: Learner) -> Effects:
    """An approved template of ours becomes `TemplateLearned`; other changes are none of the learner's business."""
    record = await at.store.template(fact.change_id) if fact.kind == "template" else None
    if record is None:
        return []
    if not await at.store.approve_template(fact.change_id, fact.digest):
        return []  # what it was made from was quarantined meanwhile
    return [
        (
            "learned",
            TemplateLearned(
                template=record["name"],
                digest=fact.digest,
                domain=record["domain"],
                document=record["document"],
                support=record["support"],
                score=Score.model_validate(record["score"]),
                attestation=fact.attestation,
            ),
        )
    ]


async def forget(digests: Sequence[str], at: Learner) -> Effects:
    """Also of what is measured later, or is on its way. Patterns are counted anew without it."""
    await at.store.quarantine(digests)
    patterns = mine(await at.store.revisions(None))
    await at.store.replace_patterns(derive_id(",".join(sorted(digests)), "forgotten"), patterns, at.clock.now().isoformat())
    return []


async def knowledge(query: GetKnowledge, at: Learner) -> dict[str, Any]:
    patterns = [p for p in await at.store.patterns(query.limit) if query.domain is None or query.domain in p.domains]
    return {
        "patterns": [pattern.model_dump(mode="json") for pattern in patterns],
        "templates": list(await at.store.templates(query.limit)),
    }
