"""Nested runs. They go over the bus, so that the whole fleet works on them, unless that could leave nobody to run them.

A parent that waits for the bus holds its place in this executor. At most `slots - 1` parents wait like that at once; the others run
their children themselves. So every executor always has a place that moves on, and nesting never stands still.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import asdict, dataclass

from services.executor.domain.control import next_command
from services.executor.domain.records import LOCAL_SEQUENCE, RunRecord
from services.executor.engine.faults import of_child
from services.executor.engine.generated import TrialScopes, is_generated
from services.executor.engine.patience import patiently
from services.executor.engine.run_state import RunState
from services.executor.ports import BusChildren, RunStore, Values
from shared.clock import Clock
from shared.errors import LimitReachedError
from shared.events.message import derive_id
from shared.events.runs import ExecuteRun, RunFinished
from shared.events.values import GrantedScope
from shared.pipeline.step import ChildRun, ChildSpec

IsOver = Callable[[], bool]
IsHeld = Callable[[], bool]
RunLocally = Callable[[ExecuteRun, IsOver, IsHeld], Awaitable[RunFinished]]


@dataclass(frozen=True)
class Parent:
    """The step that nests runs."""

    state: RunState
    position: str
    is_over: IsOver
    """Whether the step has ended for good, so that its nested runs have too."""


@dataclass(frozen=True)
class Outside:
    """What nested runs need from outside this executor."""

    bus: BusChildren
    values: Values
    scopes: TrialScopes


class ChildRuns:
    def __init__(self, runs: RunStore, outside: Outside, run_locally: RunLocally, clock: Clock, *, slots: int) -> None:
        """`slots`: runs that this executor takes at once."""
        self._runs = runs
        self._values = outside.values
        self._bus = outside.bus
        self._scopes = outside.scopes
        self._run_locally = run_locally
        self._clock = clock
        self._waiting_places = slots - 1

    async def run(self, parent: Parent, children: Sequence[ChildSpec], max_parallel: int) -> list[ChildRun]:
        """In the order of `children`; what did not end in the run's time is failed. Raises `LimitReachedError` for depth."""
        state, position = parent.state, parent.position
        if state.meter.limits.depth < 1:
            raise LimitReachedError("depth", "the run may not start nested runs")
        state.meter.check_cost()
        width = max(1, min(max_parallel, len(children), state.meter.limits.concurrency))
        alone = not state.has_parallel(position)
        if len(children) > 1 or not alone or state.outlives(position):
            await state.shared.open(state.record.run_id, lambda: state.meter.left)
        async with _places(state, state.meter.limits.concurrency if alone else width) as places:
            ended = await self._run_all(parent, children, min(width, places), places if alone else 1)
        for run in ended.values():
            state.meter.charge(run.usage, run.steps_executed)
        ids = [_child_id(state, position, child) for child in children]
        return [await self._child_run(run_id, ended.get(run_id)) for run_id in ids]

    async def _run_all(self, parent: Parent, children: Sequence[ChildSpec], width: int, calls: int) -> dict[str, RunFinished]:
        """`calls`: how many may be in flight in all of them together."""
        state, position = parent.state, parent.position
        bounds = self._bounds(state) | {"concurrency": max(1, calls // width)}
        scope = await self._scopes.for_children(state, position, children)
        commands = {_child_id(state, position, child): await self._command(parent, child, bounds, scope) for child in children}
        found = await patiently(lambda: self._runs.finished(list(commands)), self._clock)
        ended = await self._told_again(
            parent, [run for run in found if not _ended_before_retry(run, state.record)], commands, width
        )
        commands |= {run.run_id: await self._retried(run, state) for run in found if run.run_id not in ended}
        open_commands = [command for run_id, command in commands.items() if run_id not in ended]
        return ended | (await self._run_open(parent, open_commands, width) if open_commands else {})

    def _bounds(self, state: RunState) -> dict[str, float]:
        """Of one nested run that starts now."""
        limits = state.meter.limits
        return {
            **asdict(state.meter.left),
            "depth": limits.depth - 1,
            "seconds": max(0.0, state.deadline - self._clock.monotonic()),
            "cpu_seconds": limits.cpu_seconds,
            "memory_mb": limits.memory_mb,
        }

    async def _command(
        self, parent: Parent, child: ChildSpec, bounds: Mapping[str, float], granted: GrantedScope | None
    ) -> ExecuteRun:
        packed = child.model_copy(update={"inputs": await patiently(lambda: self._values.pack(child.inputs), self._clock)})
        command = _command(parent.state, parent.position, packed, bounds)
        if granted is None or not is_generated(parent.state, child):
            return command
        return command.model_copy(update={"pipeline": None, "scope": granted, "purpose": "trial"})

    async def _child_run(self, run_id: str, run: RunFinished | None) -> ChildRun:
        if run is None:
            return _child_run(run_id, None)
        outputs = await patiently(lambda: self._values.unpack(run.outputs), self._clock)
        return _child_run(run_id, run.model_copy(update={"outputs": outputs}))

    async def _told_again(
        self, parent: Parent, found: Sequence[RunFinished], commands: Mapping[str, ExecuteRun], width: int
    ) -> dict[str, RunFinished]:
        """Those that ended before. Behind a run of a parent's executor stands no command that would come back if its end was stored
        but not told, so it is told again."""
        ended = {run.run_id: run for run in found}
        await self._run_mine(parent, [commands[run_id] for run_id in ended if await self._is_local(run_id)], width)
        return ended

    async def _retried(self, run: RunFinished, state: RunState) -> ExecuteRun:
        """Goes on with a nested run that failed, for its parent is retried: what it finished is kept."""
        record = await patiently(lambda: self._runs.get(run.run_id), self._clock)
        assert record is not None
        return next_command(record, "retry", reason=f"run {state.record.run_id} is retried")

    async def _run_open(self, parent: Parent, commands: list[ExecuteRun], width: int) -> dict[str, RunFinished]:
        mine = [command for command in commands if await self._is_local(command.run_id)]
        others = [command for command in commands if command not in mine]
        if others and self._waiting_places < 1:
            mine, others = commands, []
        found: dict[str, RunFinished] = {}
        if others:
            found |= await self._run_on_bus(parent, others, width)
        return found | await self._run_mine(parent, mine, width)

    async def _run_on_bus(self, parent: Parent, commands: Sequence[ExecuteRun], width: int) -> dict[str, RunFinished]:
        self._waiting_places -= 1
        try:
            left = max(0.001, parent.state.deadline - self._clock.monotonic())
            return await patiently(lambda: self._bus.run_all(commands, max_in_flight=width, deadline_seconds=left), self._clock)
        except asyncio.CancelledError:
            if parent.is_over():
                ended_before = {each.run_id: each.continuation.retries if each.continuation else 0 for each in commands}
                await self._bus.cancel(ended_before, f"run {parent.state.record.run_id} has ended")
            raise
        finally:
            self._waiting_places += 1

    async def end_open(self, run_id: str) -> None:
        """Ends, and tells the ends of, nested runs that a former owner began, where the run ends without coming back to them."""
        reason = f"run {run_id} has ended"
        for child in await patiently(lambda: self._runs.nested_in(run_id), self._clock):
            if child.command_sequence == LOCAL_SEQUENCE:
                # It executes nothing more, ends as cut off, and says so by a cancellation that is no one else's.
                await asyncio.wait({asyncio.ensure_future(self._run_locally(child.command, _yes, _yes))})
            elif child.finished is None:
                await self._bus.cancel({child.run_id: child.retries}, reason)

    async def _is_local(self, run_id: str) -> bool:
        """Begun by an executor for its parent: no command of the broker will ever continue it."""
        record = await patiently(lambda: self._runs.get(run_id), self._clock)
        return record is not None and record.command_sequence == LOCAL_SEQUENCE

    async def _run_mine(self, parent: Parent, commands: Sequence[ExecuteRun], width: int) -> dict[str, RunFinished]:
        places = asyncio.Semaphore(width)

        async def one(command: ExecuteRun) -> RunFinished:
            async with places:
                return await patiently(lambda: self._run_locally(command, parent.is_over, parent.state.is_held), self._clock)

        tasks = [asyncio.ensure_future(one(command)) for command in commands]
        try:
            return {run.run_id: run for run in await asyncio.gather(*tasks)}
        except asyncio.CancelledError:
            # Cancelling the gathering has cancelled them once; they may be storing their end now.
            await asyncio.gather(*tasks, return_exceptions=True)
            raise
        except BaseException:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            raise


@asynccontextmanager
async def _places(state: RunState, wanted: int) -> AsyncIterator[int]:
    """Holds as many of the run's places for calls as are free, one at least: nested runs make their calls in these."""
    slots, held = state.call_slots, 0
    try:
        while held < wanted and not (held and slots.locked()):
            await slots.acquire()
            held += 1
        yield held
    finally:
        for _ in range(held):
            slots.release()


def _ended_before_retry(run: RunFinished, parent: RunRecord) -> bool:
    """Whether what made the parent fail is to be tried again."""
    retried_at = [control.at for control in parent.controls if control.verb == "retry"]
    return bool(retried_at) and run.status not in ("succeeded", "degraded") and run.finished_at < retried_at[-1].isoformat()


def _yes() -> bool:
    return True


def _child_id(state: RunState, position: str, child: ChildSpec) -> str:
    return derive_id(state.record.run_id, f"{position}:{child.key}")


def _command(state: RunState, position: str, child: ChildSpec, bounds: Mapping[str, float]) -> ExecuteRun:
    parent = state.record.command
    return ExecuteRun(
        run_id=_child_id(state, position, child),
        inputs=child.inputs,
        pipeline=child.reference or _covering_reference(state),
        document=child.document,
        scope=parent.scope,
        purpose=parent.purpose,
        tenant=parent.tenant,
        parent_run_id=state.record.run_id,
        depth=parent.depth + 1,
        ancestors=(*parent.ancestors, state.body_digest),
        group_id=parent.group_id,
        case_id=parent.case_id,
        seed=parent.seed,
        unit_id=parent.unit_id or state.record.run_id,
        limits=dict(bounds),
        pools=state.shared.ids,
        faults=of_child(parent.faults, position, child.key),
    )


def _covering_reference(state: RunState) -> str | None:
    """The approved revision in which an inline document is written; a trial's children need none, its scope covers them."""
    parent = state.record.command
    if parent.scope is not None:
        return None
    return parent.pipeline if parent.document is not None else f"{state.record.pipeline}@{state.record.digest}"


def _child_run(run_id: str, run: RunFinished | None) -> ChildRun:
    if run is None:
        return ChildRun(run_id=run_id, digest="", status="failed", error="did not end in time", error_code="limit_reached:seconds")
    fields = ("run_id", "digest", "status", "outputs", "error", "error_code", "usage", "steps_executed", "latency_seconds")
    return ChildRun(**{name: getattr(run, name) for name in fields})
