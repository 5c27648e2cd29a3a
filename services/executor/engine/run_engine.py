"""All steps of a run in their order, then its outputs."""

from __future__ import annotations

import asyncio
from typing import Any

from services.executor.domain.control import SuspendRun
from services.executor.domain.outcome import Outcome, completed, failed
from services.executor.engine.run_state import RunState
from services.executor.engine.services import StepServices
from services.executor.engine.step_runner import StepRunner
from shared.errors import InvalidInputError, LimitReachedError
from shared.pipeline.dataflow import dependencies
from shared.pipeline.document import Step
from shared.pipeline.step import StepResult
from shared.pipeline.templates import render


class _StepFailed(Exception):  # noqa: N818  ends a run, is no error of the program
    def __init__(self, name: str, result: StepResult) -> None:
        self.name = name
        self.result = result
        super().__init__(name)


class RunEngine:
    def __init__(self, state: RunState, services: StepServices) -> None:
        self._state = state
        self._runner = StepRunner(state, services)

    async def run(self) -> Outcome:
        """Steps that are in the journal are taken from there. Raises `RunFencedError` and `UnavailableError` of the journal."""
        steps = self._state.document.steps
        try:
            if self._state.shared.ids:
                await self._state.shared.prepay_steps(sum(self._state.journal.finished(step.name) is None for step in steps))
            if self._state.document.execution == "dataflow":
                await self._run_dataflow()
            else:
                for step in steps:
                    await self._run_step(step)
            return completed(self._outputs(), self._state.journal.live_steps)
        except _StepFailed as end:
            result = end.result
            return Outcome("failed", error=f"step {end.name}: {result.error}", error_code=result.error_code)
        except (LimitReachedError, InvalidInputError) as error:
            return failed(error)

    async def _run_step(self, step: Step) -> None:
        pausing = self._state.time.pausing
        if pausing is not None and self._state.journal.finished(step.name) is None:
            raise SuspendRun(pausing)
        result = await self._runner.run(step, step.name, self._state.names())
        self._state.keep(step.name, result)
        if result.status == "failed" and step.on_error != "continue":
            self._state.time.end()
            raise _StepFailed(step.name, result)

    async def _run_dataflow(self) -> None:
        """A step starts when everything that it waits for has ended. The first failure stops what still runs."""
        edges = dependencies(self._state.document)
        done = {step.name: asyncio.Event() for step in self._state.document.steps}
        places = asyncio.Semaphore(self._state.meter.limits.concurrency)

        async def one(step: Step) -> None:
            for name in edges[step.name]:
                await done[name].wait()
            if self._state.time.pausing is not None and self._state.journal.finished(step.name) is None:
                # Those that run are let end; the time that a pause gives them ends this wait.
                await asyncio.Event().wait()
            async with places:
                await self._run_step(step)
            done[step.name].set()

        try:
            async with asyncio.TaskGroup() as group:
                for step in self._state.document.steps:
                    group.create_task(one(step))
        except BaseExceptionGroup as failures:
            raise _first(failures) from None

    def _outputs(self) -> Any:
        document, state = self._state.document, self._state
        if document.outputs:
            return render(document.outputs, state.names())
        return state.results[document.steps[-1].name].value


def _first(failures: BaseExceptionGroup[BaseException]) -> BaseException:
    """What stopped the run first; the others were stopped by it."""
    error: BaseException = failures
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return error
