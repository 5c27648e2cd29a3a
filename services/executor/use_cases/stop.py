"""Stopping runs: a request is stored, and the executor that owns the run looks for it while it runs."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import structlog

from services.executor.domain.control import check_may, check_not_imported
from services.executor.domain.records import LOCAL_SEQUENCE, RunRecord
from services.executor.ports import RunScope, Stop, Stops
from services.executor.use_cases.executor import Executor
from services.executor.use_cases.suspension import end_suspended, hold_waiting, stage_of
from services.executor.use_cases.telling import announce_end, announce_suspension
from shared.clock import Clock
from shared.events.runs import CancelRun, PauseRun


async def cancel_run(command: CancelRun, command_id: str, at: Executor) -> None:
    """A finished run stays as it is, and its end is told again; one that did not start yet is stopped when it does. Raises
    `InvalidInputError` for an imported run."""
    record = await at.runs.get(command.run_id)
    if record is not None:
        check_not_imported("cancel", record)
    stage = stage_of(record)
    meant = await at.stops.meant(command_id, stage)
    if record is not None and record.finished is not None:
        if record.status == "cancelled":
            # Whoever cancelled it while it was suspended may have been lost before this.
            await at.services.children.end_open(record.run_id)
        await announce_end(record.finished, at)
        return
    if meant.retries != stage.retries:
        return
    stop = Stop("cancel", command.author, command.reason)
    await at.stops.request(command.run_id, stop, meant)
    # Who suspends a run looks for requests after that; whoever asks looks for suspended runs after asking.
    record = await at.runs.get(command.run_id)
    if record is not None and record.is_suspended:
        await end_suspended(record, command.author, command.reason, at)


async def pause_run(command: PauseRun, command_id: str, at: Executor) -> None:
    """Raises `InvalidInputError` for a run that has ended, or runs inside another one."""
    record = await at.runs.get(command.run_id)
    stage = stage_of(record)
    meant = await at.stops.meant(command_id, stage)
    stop = Stop("pause", command.author, command.reason)
    if record is None:
        await at.stops.request(command.run_id, stop, meant)
        return
    if meant.generation != stage.generation:
        return
    if record.status == "paused":
        await announce_suspension(record, at)
        return
    check_may("pause", record, ("running", "waiting"))
    if record.status == "waiting":
        await hold_waiting(record, command.author, command.reason, at)
        return
    await at.stops.request(command.run_id, stop, meant)


class PollingCancelWatch:
    """One query for all runs of this executor every `poll_seconds`, only while something runs."""

    def __init__(self, stops: Stops, clock: Clock, poll_seconds: float, *, pause_grace_seconds: float = 5.0) -> None:
        self._stops = stops
        self._clock = clock
        self._poll_seconds = poll_seconds
        self._pause_grace_seconds = pause_grace_seconds
        self._scopes: dict[str, tuple[RunRecord, RunScope]] = {}
        self._polling: asyncio.Task[None] | None = None

    @asynccontextmanager
    async def watching(self, record: RunRecord, scope: RunScope) -> AsyncIterator[None]:
        if record.epoch > 1:
            # It may have been stopped while nobody had it.
            for stop in (await self._stops.among([record])).values():
                self._stop(record, scope, stop)
        self._scopes[record.run_id] = (record, scope)
        if self._polling is None or self._polling.done():
            self._polling = asyncio.create_task(self._poll())
        try:
            yield
        finally:
            self._scopes.pop(record.run_id, None)
            if not self._scopes and self._polling is not None:
                # A task that is told to stop is not done yet: the next run must not take it for one that watches.
                self._polling.cancel()
                self._polling = None

    async def _poll(self) -> None:
        while self._scopes:
            await self._clock.sleep(self._poll_seconds)
            try:
                wanted = await self._stops.among([record for record, _ in self._scopes.values()])
            except Exception as error:
                # The runs go on; their own writes meet the same store and say so. Who stopped watching here would never stop a run.
                structlog.get_logger("services.executor").warning("requests to stop not readable", error=str(error))
                continue
            for run_id, stop in wanted.items():
                if run_id in self._scopes:
                    self._stop(*self._scopes[run_id], stop)

    def _stop(self, record: RunRecord, scope: RunScope, stop: Stop) -> None:
        """A run inside another one pauses with that."""
        if stop.verb == "cancel":
            scope.cancel(f"cancelled by {stop.author}: {stop.reason or 'no reason given'}", stop.code)
        elif record.command_sequence != LOCAL_SEQUENCE:
            scope.pause(stop.reason, stop.author, self._pause_grace_seconds)
