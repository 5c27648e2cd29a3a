"""Subject -> use case -> published event."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from services.executor.domain.delivery import CommandDelivery
from services.executor.use_cases import (
    Executor,
    cancel_run,
    describe_run,
    execute_run,
    export_run,
    finished_runs,
    fork_run,
    import_run,
    list_runs,
    pause_run,
    resume_run,
    retry_run,
    run_log,
)
from shared.events.quotas import CountLease, SealScope
from shared.events.runs import CancelRun, ExecuteRun, FinishedRuns, ForkRun, GetRun, ListRuns, PauseRun, ResumeRun, RetryRun
from shared.events.transfer import ExportRun, GetRunLog, ImportRun
from shared.messaging.consumer import Consumer
from shared.messaging.handling import Delivery, Effects
from shared.messaging.headers import ORIGINAL_ID

DEADLINE_SECONDS = 90_000.0
"""Above the longest run that a document may ask for; each run's own limit ends it."""
IMPORT_SECONDS = 600.0
"""A file may hold tens of thousands of journal lines."""
MAX_ATTEMPTS = 20
"""Backstop of the bus; a run that keeps losing its owners is ended by `max_takeovers` before."""


@dataclass(frozen=True)
class Subscribers:
    executor: Executor
    concurrency: int
    ack_wait_seconds: float

    async def on_execute_run(self, command: ExecuteRun, delivery: Delivery) -> None:
        await execute_run(command, command_delivery(delivery), self.executor)

    async def on_cancel_run(self, command: CancelRun, delivery: Delivery) -> None:
        await cancel_run(command, delivery.message_id, self.executor)

    async def on_pause_run(self, command: PauseRun, delivery: Delivery) -> None:
        await pause_run(command, delivery.message_id, self.executor)

    async def on_resume_run(self, command: ResumeRun, delivery: Delivery) -> Effects:
        return await resume_run(command, delivery.message_id, self.executor)

    async def on_retry_run(self, command: RetryRun, delivery: Delivery) -> Effects:
        return await retry_run(command, delivery.message_id, self.executor)

    async def on_fork_run(self, command: ForkRun, _: Delivery) -> Effects:
        return await fork_run(command, self.executor)

    async def on_import_run(self, command: ImportRun, _: Delivery) -> Effects:
        return await import_run(command, self.executor)

    async def export_run(self, query: ExportRun) -> dict[str, object]:
        return await export_run(query, self.executor)

    async def run_log(self, query: GetRunLog) -> dict[str, object]:
        return await run_log(query, self.executor.runs, self.executor.journal)

    async def get_run(self, query: GetRun) -> dict[str, object]:
        return await describe_run(query, self.executor.runs, self.executor.journal)

    async def finished_runs(self, query: FinishedRuns) -> dict[str, object]:
        return await finished_runs(query, self.executor.runs)

    async def list_runs(self, query: ListRuns) -> dict[str, object]:
        return await list_runs(query, self.executor.runs)

    async def seal_scope(self, query: SealScope) -> dict[str, object]:
        return await self.executor.sealing.seal(query)

    async def count_lease(self, query: CountLease) -> dict[str, object]:
        return await self.executor.quotas.count(query)

    def register(self, consumer: Consumer) -> None:
        consumer.on(
            ExecuteRun,
            self.on_execute_run,
            durable="executor-execute",
            concurrency=self.concurrency,
            deadline_seconds=DEADLINE_SECONDS,
            max_attempts=MAX_ATTEMPTS,
            ack_wait_seconds=self.ack_wait_seconds,
        )
        consumer.on(CancelRun, self.on_cancel_run, durable="executor-cancel")
        consumer.on(PauseRun, self.on_pause_run, durable="executor-pause")
        consumer.on(ResumeRun, self.on_resume_run, durable="executor-resume")
        consumer.on(RetryRun, self.on_retry_run, durable="executor-retry")
        consumer.on(ForkRun, self.on_fork_run, durable="executor-fork")
        consumer.on(ImportRun, self.on_import_run, durable="executor-import", deadline_seconds=IMPORT_SECONDS)
        consumer.answers(ExportRun, self.export_run)
        consumer.answers(GetRunLog, self.run_log)
        consumer.answers(GetRun, self.get_run)
        consumer.answers(FinishedRuns, self.finished_runs)
        consumer.answers(ListRuns, self.list_runs)
        consumer.answers(SealScope, self.seal_scope)
        consumer.answers(CountLease, self.count_lease)


def command_delivery(delivery: Delivery) -> CommandDelivery:
    sent = delivery.headers.get("ce-time", "")
    return CommandDelivery(
        sequence=delivery.sequence,
        attempt=delivery.attempt,
        sent_at=_moment(sent),
        redriven=ORIGINAL_ID in delivery.headers,
        is_held=delivery.is_held,
    )


def _moment(text: str) -> datetime | None:
    """Senders outside may leave the time away or write anything."""
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        return None
    return moment if moment.tzinfo else None
