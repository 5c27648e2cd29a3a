"""What evolutions and experiments do alike with what they found: propose it, tell its score, keep away from what was taken back."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from services.evolution.use_cases.bound import Evolution
from shared.errors import PermanentError
from shared.events.changes import Evidence, ProposeChange
from shared.events.experiments import StartExperiment
from shared.events.improvement import PipelineScored, StartEvolution
from shared.events.message import Message, derive_id
from shared.events.rollouts import RolloutPlan
from shared.evidence import score
from shared.pipeline.document import Document
from shared.search.candidates import Candidate


@dataclass(frozen=True)
class Order:
    """A search or experiment by its id, on a stable revision."""

    id: str
    noun: str
    command: StartEvolution | StartExperiment
    stable: Document
    grader_hash: str
    at: Evolution

    def promotion(self, found: Candidate, reason: str, evidence: Evidence, rollout: RolloutPlan | None = None) -> ProposeChange:
        command = self.command
        return ProposeChange(
            change_id=derive_id(self.id, "promotion"),
            kind="promotion",
            pipeline=command.pipeline,
            document=dict(found.document),
            domain=self.stable.domain,
            author="evolution",
            requested_by=command.author if command.author != "anonymous" else None,
            reason=reason[:4000],
            evidence=(evidence,),
            dataset_id=command.dataset_id,
            parent_digest=self.stable.digest,
            origins=found.origins,
            group_id=self.id,
            rollout=rollout,
        )

    async def tell_score(self, candidate: Candidate, grades: Sequence[float | None]) -> None:
        fact = PipelineScored(
            pipeline=self.command.pipeline,
            digest=candidate.digest,
            domain=self.stable.domain,
            purpose="evaluation",
            score=score(grades, self.grader_hash),
            document=dict(candidate.document),
            group_id=self.id,
        )
        await self.at.announcer.announce(fact, cause=self.id, effect=f"scored:{candidate.digest}")

    async def refuse_quarantined(self, *digests: str) -> None:
        """Raises `PermanentError` where one of them, or the stable revision, was taken back."""
        if found := await self.at.evolutions.quarantined((self.stable.digest, *digests)):
            raise PermanentError(f"revision {found[0][:12]}, which this {self.noun} works with, was taken back meanwhile")


def proposed(proposal: ProposeChange, pending: Message) -> dict[str, Any]:
    """What is remembered of it until the guardrail has decided; `pending` is the end as far as it is known."""
    return {
        "status": "proposed",
        "change_id": proposal.change_id,
        "proposal": proposal.model_dump(mode="json"),
        "pending": pending.model_copy(update={"change_id": proposal.change_id}).model_dump(mode="json"),
    }
