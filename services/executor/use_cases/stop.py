"""Stopping runs: a request is stored, and the executor that owns the run looks for it while it runs."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import structlog

from services.executor.ports import Cancellations, RunScope, RunStore
from shared.clock import Clock
from shared.events.runs import CancelRun


async def cancel_run(command: CancelRun, runs: RunStore, cancellations: Cancellations) -> None:
    """A finished run stays as it is; one that did not start yet is stopped when it does."""
    record = await runs.get(command.run_id)
    if record is None or record.finished is None:
        await cancellations.request(command.run_id, command.author, command.reason)


class PollingCancelWatch:
    """One query for all runs of this executor every `poll_seconds`, only while something runs."""

    def __init__(self, cancellations: Cancellations, clock: Clock, poll_seconds: float) -> None:
        self._cancellations = cancellations
        self._clock = clock
        self._poll_seconds = poll_seconds
        self._scopes: dict[str, RunScope] = {}
        self._polling: asyncio.Task[None] | None = None

    @asynccontextmanager
    async def watching(self, run_id: str, scope: RunScope) -> AsyncIterator[None]:
        self._scopes[run_id] = scope
        if self._polling is None or self._polling.done():
            self._polling = asyncio.create_task(self._poll())
        try:
            yield
        finally:
            self._scopes.pop(run_id, None)
            if not self._scopes and self._polling is not None:
                # A task that is told to stop is not done yet: the next run must not take it for one that watches.
                self._polling.cancel()
                self._polling = None

    async def _poll(self) -> None:
        while self._scopes:
            await self._clock.sleep(self._poll_seconds)
            try:
                wanted = await self._cancellations.among(list(self._scopes))
            except Exception as error:
                # The runs go on; their own writes meet the same store and say so. Who stopped watching here would never stop a run.
                structlog.get_logger("services.executor").warning("requests to stop not readable", error=str(error))
                continue
            for run_id, reason in wanted.items():
                if run_id in self._scopes:
                    self._scopes[run_id].cancel(reason)
