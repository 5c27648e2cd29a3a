"""Subject -> use case -> effects."""

from __future__ import annotations

from services.learner.use_cases import (
    Effects,
    Learner,
    adopt_template,
    forget,
    knowledge,
    learn_from_runs,
    remember_run,
    remember_score,
)
from shared.attestation import Approvals
from shared.events.changes import ChangeApproved, PipelineRolledBack
from shared.events.improvement import GetKnowledge, LearnFromRuns, PipelineScored
from shared.events.recovery import RevisionQuarantined
from shared.events.runs import RunFinished
from shared.messaging.consumer import Consumer, Delivery


def register(consumer: Consumer, at: Learner, approvals: Approvals) -> None:
    async def on_learn_from_runs(command: LearnFromRuns, _: Delivery) -> Effects:
        return await learn_from_runs(command, at)

    async def on_pipeline_scored(fact: PipelineScored, _: Delivery) -> Effects:
        return await remember_score(fact, at)

    async def on_run_finished(fact: RunFinished, _: Delivery) -> Effects:
        return await remember_run(fact, at)

    async def on_change_approved(fact: ChangeApproved, _: Delivery) -> Effects:
        approvals.check_change(fact)
        return await adopt_template(fact, at)

    async def on_taken_out(fact: PipelineRolledBack | RevisionQuarantined, _: Delivery) -> Effects:
        return await forget(fact.quarantined, at)

    async def get_knowledge(query: GetKnowledge) -> dict[str, object]:
        return await knowledge(query, at)

    consumer.on(LearnFromRuns, on_learn_from_runs, durable="learner-learn")
    consumer.on(PipelineScored, on_pipeline_scored, durable="learner-pipeline-scored")
    consumer.on(RunFinished, on_run_finished, durable="learner-run-finished")
    consumer.on(ChangeApproved, on_change_approved, durable="learner-change-approved")
    consumer.on(PipelineRolledBack, on_taken_out, durable="learner-pipeline-rolled-back")
    consumer.on(RevisionQuarantined, on_taken_out, durable="learner-revision-quarantined")
    consumer.answers(GetKnowledge, get_knowledge)
