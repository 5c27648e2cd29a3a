"""Subject -> use case -> effects."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress

from services.evolution.ports import Descent
from services.evolution.use_cases import (
    Effects,
    experiments,
    forget,
    give_up_evolution,
    read_evolution,
    record_gate,
    record_verdict,
    remember_template,
    start_evolution,
    stop_evolution,
)
from services.evolution.use_cases.descent import read_candidate, read_lineage
from services.evolution.use_cases.experiments import Laboratory
from shared.attestation import Approvals
from shared.errors import EvolineError, PermanentError, TransientError
from shared.events.changes import ChangeApproved, ChangeQueued, ChangeVetoed, GateFinished
from shared.events.deployments import PipelineRolledBack
from shared.events.experiments import GetExperiment, ListExperiments, StartExperiment, StopExperiment
from shared.events.improvement import GetEvolution, StartEvolution, StopEvolution, TemplateLearned
from shared.events.lineage import GetCandidate, GetLineage
from shared.events.recovery import RevisionQuarantined
from shared.events.rollouts import RolloutAborted, RolloutCompleted, RolloutRolledBack
from shared.messaging.consumer import Consumer
from shared.messaging.handling import Delivery
from shared.messaging.retry import RetryPolicy

_LONGEST_EVOLUTION_SECONDS = 90_000.0
"""A day, the longest time that a command may ask for, and some more for the finalists."""
_RETRY = RetryPolicy()


def register(consumer: Consumer, laboratory: Laboratory, approvals: Approvals, *, concurrency: int) -> None:
    _orders(consumer, laboratory, concurrency)
    _stops(consumer, laboratory)
    _verdicts(consumer, laboratory, approvals)
    _questions(consumer, laboratory)


def register_descent(consumer: Consumer, descent: Descent) -> None:
    async def get_lineage(query: GetLineage) -> dict[str, object]:
        return await read_lineage(query, descent)

    async def get_candidate(query: GetCandidate) -> dict[str, object]:
        return await read_candidate(query, descent)

    consumer.answers(GetLineage, get_lineage)
    consumer.answers(GetCandidate, get_candidate)


def _orders(consumer: Consumer, laboratory: Laboratory, concurrency: int) -> None:
    async def on_start_evolution(command: StartEvolution, delivery: Delivery) -> Effects:
        async with _released(delivery, lambda: give_up_evolution(command, laboratory.evolution)):
            return await start_evolution(command, laboratory.evolution)

    async def on_start_experiment(command: StartExperiment, delivery: Delivery) -> Effects:
        async with _released(delivery, lambda: experiments.give_up_experiment(command, laboratory)):
            return await experiments.start_experiment(command, laboratory)

    consumer.on(
        StartEvolution,
        on_start_evolution,
        durable="evolution-start",
        concurrency=concurrency,
        deadline_seconds=_LONGEST_EVOLUTION_SECONDS,
        max_attempts=_RETRY.max_attempts,
        retry=_RETRY,
    )
    consumer.on(
        StartExperiment,
        on_start_experiment,
        durable="evolution-start-experiment",
        concurrency=concurrency,
        deadline_seconds=_LONGEST_EVOLUTION_SECONDS,
        max_attempts=_RETRY.max_attempts,
        retry=_RETRY,
    )


def _stops(consumer: Consumer, laboratory: Laboratory) -> None:
    """With consumers of their own: they never wait behind searches."""

    async def on_stop_evolution(command: StopEvolution, delivery: Delivery) -> Effects:
        return await stop_evolution(command, delivery.signature, laboratory.evolution)

    async def on_stop_experiment(command: StopExperiment, delivery: Delivery) -> Effects:
        return await experiments.stop_experiment(command, delivery.signature, laboratory)

    consumer.on(StopEvolution, on_stop_evolution, durable="evolution-stop")
    consumer.on(StopExperiment, on_stop_experiment, durable="evolution-stop-experiment")


@asynccontextmanager
async def _released(delivery: Delivery, give_up: Callable[[], Awaitable[None]]) -> AsyncIterator[None]:
    """A failure after which the order is tried no more gives up what it holds. A permanent one concerns the order, not the search
    that has its id."""
    try:
        yield
    except PermanentError:
        raise
    except Exception as error:
        if _RETRY.is_last(delivery.attempt, transient=isinstance(error, TransientError)):
            with suppress(EvolineError):  # the scope expires by itself, then
                await give_up()
        raise


def _verdicts(consumer: Consumer, laboratory: Laboratory, approvals: Approvals) -> None:
    at = laboratory.evolution

    async def on_gate_finished(fact: GateFinished, _: Delivery) -> Effects:
        return [*await record_gate(fact, at), *await experiments.record_gate(fact, laboratory)]

    async def on_verdict(decision: ChangeApproved | ChangeQueued | ChangeVetoed, _: Delivery) -> Effects:
        if isinstance(decision, ChangeApproved):
            approvals.check_change(decision)
        return [*await record_verdict(decision, at), *await experiments.record_verdict(decision, laboratory)]

    async def on_rollout_ended(fact: RolloutCompleted | RolloutRolledBack | RolloutAborted, _: Delivery) -> Effects:
        return await experiments.record_rollout(fact, laboratory)

    async def on_taken_out(fact: PipelineRolledBack | RevisionQuarantined, _: Delivery) -> Effects:
        return await forget(fact.quarantined, at)

    async def on_template_learned(fact: TemplateLearned, _: Delivery) -> Effects:
        approvals.check_template(fact)
        return await remember_template(fact, at)

    consumer.on(GateFinished, on_gate_finished, durable="evolution-gate-finished")
    consumer.on(ChangeApproved, on_verdict, durable="evolution-change-approved")
    consumer.on(ChangeQueued, on_verdict, durable="evolution-change-queued")
    consumer.on(ChangeVetoed, on_verdict, durable="evolution-change-vetoed")
    consumer.on(RolloutCompleted, on_rollout_ended, durable="evolution-rollout-completed")
    consumer.on(RolloutRolledBack, on_rollout_ended, durable="evolution-rollout-rolled-back")
    consumer.on(RolloutAborted, on_rollout_ended, durable="evolution-rollout-aborted")
    consumer.on(PipelineRolledBack, on_taken_out, durable="evolution-pipeline-rolled-back")
    consumer.on(RevisionQuarantined, on_taken_out, durable="evolution-revision-quarantined")
    consumer.on(TemplateLearned, on_template_learned, durable="evolution-template-learned")


def _questions(consumer: Consumer, laboratory: Laboratory) -> None:
    async def get_evolution(query: GetEvolution) -> dict[str, object]:
        return await read_evolution(query, laboratory.evolution)

    async def get_experiment(query: GetExperiment) -> dict[str, object]:
        return await experiments.read_experiment(query, laboratory)

    async def list_experiments(query: ListExperiments) -> dict[str, object]:
        return await experiments.list_experiments(query, laboratory)

    consumer.answers(GetEvolution, get_evolution)
    consumer.answers(GetExperiment, get_experiment)
    consumer.answers(ListExperiments, list_experiments)
