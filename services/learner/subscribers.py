"""Subject -> use case -> effects."""

from __future__ import annotations

from services.learner.use_cases import (
    Effects,
    Gains,
    Learner,
    adopt_template,
    attribute,
    forget,
    knowledge,
    learn_from_runs,
    note_claim,
    note_report,
    note_rollout,
    note_served,
    remember_run,
    remember_score,
    strategies,
)
from shared.attestation import Approvals
from shared.events.changes import ChangeApproved, GateFinished
from shared.events.deployments import PipelineRolledBack
from shared.events.experiments import ExperimentFinished
from shared.events.gains import GetStrategies
from shared.events.improvement import EvolutionFinished, GetKnowledge, LearnFromRuns, PipelineScored
from shared.events.recovery import RevisionQuarantined
from shared.events.rollouts import OutcomeReported, RolloutCompleted, RolloutRolledBack
from shared.events.runs import RunFinished
from shared.messaging.consumer import Consumer, Delivery


def register(consumer: Consumer, at: Learner, gains: Gains, approvals: Approvals) -> None:
    _learning(consumer, at, gains, approvals)
    _claims(consumer, gains)


def _learning(consumer: Consumer, at: Learner, gains: Gains, approvals: Approvals) -> None:
    async def on_learn_from_runs(command: LearnFromRuns, _: Delivery) -> Effects:
        return await learn_from_runs(command, at)

    async def on_pipeline_scored(fact: PipelineScored, _: Delivery) -> Effects:
        return await remember_score(fact, at)

    async def on_run_finished(fact: RunFinished, _: Delivery) -> Effects:
        return [*await remember_run(fact, at), *await note_served(fact, gains)]

    async def on_change_approved(fact: ChangeApproved, _: Delivery) -> Effects:
        approvals.check_change(fact)
        return [*await adopt_template(fact, at), *await note_claim(fact, gains)]

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


def _claims(consumer: Consumer, gains: Gains) -> None:
    async def on_gate_finished(fact: GateFinished, _: Delivery) -> Effects:
        return await note_claim(fact, gains)

    async def on_search_finished(fact: EvolutionFinished | ExperimentFinished, _: Delivery) -> Effects:
        return await attribute(fact, gains)

    async def on_outcome_reported(fact: OutcomeReported, _: Delivery) -> Effects:
        return await note_report(fact, gains)

    async def on_rollout_ended(fact: RolloutCompleted | RolloutRolledBack, _: Delivery) -> Effects:
        return await note_rollout(fact, gains)

    async def get_strategies(query: GetStrategies) -> dict[str, object]:
        return await strategies(query, gains)

    consumer.on(GateFinished, on_gate_finished, durable="learner-gate-finished")
    consumer.on(EvolutionFinished, on_search_finished, durable="learner-evolution-finished")
    consumer.on(ExperimentFinished, on_search_finished, durable="learner-experiment-finished")
    consumer.on(OutcomeReported, on_outcome_reported, durable="learner-outcome-reported")
    consumer.on(RolloutCompleted, on_rollout_ended, durable="learner-rollout-completed")
    consumer.on(RolloutRolledBack, on_rollout_ended, durable="learner-rollout-rolled-back")
    consumer.answers(GetStrategies, get_strategies)
