"""Runs that the guardrail stops while they go on: searches when the system is frozen, and runs on a revision that was taken back
with the wish to cancel them."""

from __future__ import annotations

from collections.abc import Sequence

from services.executor.domain.records import RunRecord
from services.executor.domain.standing import freeze_on
from services.executor.ports import Stage, Standing, Stop, Stops


class GuardedStops:
    """Requests of people about single runs, and what the guardrail says about all of them: one watch looks for both."""

    def __init__(self, stops: Stops, guardrail: Standing) -> None:
        self._stops = stops
        self._guardrail = guardrail

    async def meant(self, command_id: str, stage: Stage) -> Stage:
        return await self._stops.meant(command_id, stage)

    async def request(self, run_id: str, stop: Stop, stage: Stage) -> None:
        await self._stops.request(run_id, stop, stage)

    async def among(self, runs: Sequence[RunRecord]) -> dict[str, Stop]:
        asked = await self._stops.among(runs)
        freezes, cancelled = await self._guardrail.read({run.digest for run in runs})
        found: dict[str, Stop] = {}
        for run in runs:
            if stopped := cancelled.get(run.digest):
                found[run.run_id] = Stop("cancel", stopped.author, stopped.reason, "quarantined")
            elif freeze := freeze_on(freezes, run.command.scope, run.pipeline, run.domain):
                found[run.run_id] = Stop("cancel", freeze.author, str(freeze.error), "frozen")
        return {**found, **asked}
