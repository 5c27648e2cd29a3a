"""Computations in real child processes: what misbehaves ends alone, at once, with an error that says why."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import sys
from asyncio.subprocess import PIPE
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from services.executor.adapters.computing.frames import MEBIBYTE, ComputationError
from services.executor.adapters.computing.processes import COMPUTE, Bounds, ProcessComputations
from services.executor.ports import Allowance
from services.executor.use_cases import cancel_run
from shared.errors import EvolineError, InvalidInputError, LimitReachedError, NotFoundError, StepLimitError
from shared.events.runs import CancelRun
from tests.eventually import eventually
from tests.fakes.executor import ExecutorKit, new_id

HOSTILE = "tests.hostile_computations:compute"
SMALL = Allowance(cpu_seconds=0.3, memory_mb=64)


@contextlib.asynccontextmanager
async def opened(entry: str = HOSTILE, **bounds: Any) -> AsyncIterator[ProcessComputations]:
    computations = ProcessComputations(Bounds(**bounds), entry)
    try:
        yield computations
    finally:
        pids = computations.pids
        await computations.close()
        assert not [pid for pid in pids if exists(pid)], "a child outlived its executor"


@pytest.fixture
async def hostile() -> AsyncIterator[ProcessComputations]:
    async with opened(processes=1, answer_bytes=MEBIBYTE) as computations:
        yield computations


def exists(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


async def refusal(computations: ProcessComputations, way: str, allowance: Allowance = SMALL, **arguments: Any) -> EvolineError:
    with pytest.raises(EvolineError) as caught:
        await computations.compute(way, arguments, allowance)
    return caught.value


@pytest.mark.parametrize("way", ["spin", "spin_in_c"])
async def test_over_its_cpu_seconds_a_computation_is_ended_even_inside_c(hostile: ProcessComputations, way: str) -> None:
    before = await hostile.compute("pid", {}, SMALL)
    error = await refusal(hostile, way)
    assert isinstance(error, LimitReachedError)
    assert (error.limit, str(error)) == ("cpu_seconds", f"{way} used more than 0.3 CPU seconds")
    await eventually(lambda: not exists(before))
    assert await hostile.compute("pid", {}, SMALL) != before


async def test_cpu_seconds_are_counted_anew_for_each_call(hostile: ProcessComputations) -> None:
    for _ in range(300):
        await hostile.compute("echo", {"value": list(range(2000))}, Allowance(cpu_seconds=0.1))
    assert await hostile.compute("cpu_used", {}, SMALL) > 0.15


async def test_over_its_memory_a_computation_ends_and_the_next_one_has_its_own(hostile: ProcessComputations) -> None:
    error = await refusal(hostile, "hog", Allowance(cpu_seconds=20, memory_mb=64))
    assert isinstance(error, LimitReachedError)
    assert error.limit == "memory_mb"
    assert "64 MB" in str(error)
    assert await hostile.compute("echo", {"value": "x" * 500_000}, SMALL) == "x" * 500_000


async def test_a_computation_that_only_waits_ends_after_the_wall_time() -> None:
    async with opened(processes=1, wall_seconds=0.3) as hostile:
        before = await hostile.compute("pid", {}, SMALL)
        error = await refusal(hostile, "sleep")
        assert isinstance(error, LimitReachedError)
        assert error.limit == "wall_seconds"
        await eventually(lambda: not exists(before))
        assert await hostile.compute("echo", {"value": 1}, SMALL) == 1


async def test_too_large_an_answer_is_refused_and_printing_is_no_answer(hostile: ProcessComputations) -> None:
    error = await refusal(hostile, "flood", bytes=2 * MEBIBYTE)
    assert isinstance(error, LimitReachedError)
    assert error.limit == "answer_bytes"
    assert await hostile.compute("shout", {"bytes": 1000}, SMALL) == "done"
    assert (await refusal(hostile, "shout", bytes=20 * MEBIBYTE)).code == "computation_failed"
    assert await hostile.compute("echo", {"value": 1}, SMALL) == 1


async def test_arguments_that_are_too_large_or_no_json_never_reach_a_child() -> None:
    async with opened(request_bytes=1000) as hostile:
        assert (await refusal(hostile, "echo", value="x" * 1000)).code == "limit_reached"
        assert (await refusal(hostile, "echo", value={1, 2})).code == "invalid_input"
        assert hostile.pids == []


@pytest.mark.parametrize(
    ("way", "said"), [("exit", "code 3"), ("segfault", "SIGSEGV"), ("bug", "KeyError: 'missing'"), ("not_json", "TypeError")]
)
async def test_a_computation_that_goes_down_is_a_clear_error(hostile: ProcessComputations, way: str, said: str) -> None:
    error = await refusal(hostile, way)
    assert isinstance(error, ComputationError)
    assert said in str(error)
    assert await hostile.compute("echo", {"value": 1}, SMALL) == 1


async def test_an_endlessly_nested_answer_is_an_error_and_not_the_end(hostile: ProcessComputations) -> None:
    assert "RecursionError" in str(await refusal(hostile, "deep"))


async def test_errors_of_a_computation_keep_their_kind(hostile: ProcessComputations) -> None:
    invalid = await refusal(hostile, "invalid")
    assert isinstance(invalid, InvalidInputError)
    assert [problem.path for problem in invalid.problems] == ["a.b", "c"]
    assert isinstance(await refusal(hostile, "not_found"), NotFoundError)
    bounded = await refusal(hostile, "step_limit")
    assert isinstance(bounded, StepLimitError)
    assert bounded.limit == "max_rows"


async def test_values_of_all_kinds_come_back_as_they_were(hostile: ProcessComputations) -> None:
    value: dict[str, Any] = {"": None, "ü\u2028\ud800": [1.5, 2**70, True, "\x00"], "deep": {"a": [[]]}}
    assert await hostile.compute("echo", {"value": value}, SMALL) == value


async def test_a_child_has_no_secrets_no_files_and_no_folder_to_write_into(
    hostile: ProcessComputations, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("ANTHROPIC_API_KEY", "sk-secret")
    monkeypatch.setenv("EVOLINE_NATS_PASSWORD", "secret")
    with (tmp_path / "kept.txt").open("w") as file:
        os.set_inheritable(file.fileno(), True)
        assert set(await hostile.compute("environment", {}, SMALL)) <= {"PYTHONPATH", "LANG", "LC_CTYPE"}
        # Requests, errors, answers, and the folder that is being listed.
        assert await hostile.compute("open_files", {}, SMALL) == ["0", "1", "2", "3", "4"]
    assert "FileNotFoundError" in str(await refusal(hostile, "write"))


async def test_cancelling_a_call_kills_the_child_and_frees_its_place(hostile: ProcessComputations) -> None:
    await hostile.compute("echo", {"value": 1}, SMALL)
    (pid,) = hostile.pids
    call = asyncio.create_task(hostile.compute("sleep", {}, SMALL))
    await asyncio.sleep(0.1)
    call.cancel()
    with pytest.raises(asyncio.CancelledError):
        await call
    await eventually(lambda: not exists(pid))
    assert await hostile.compute("echo", {"value": 2}, SMALL) == 2


async def test_a_call_that_is_cancelled_while_its_child_starts_leaves_none_behind(hostile: ProcessComputations) -> None:
    call = asyncio.create_task(hostile.compute("sleep", {}, SMALL))
    await asyncio.sleep(0.02)
    call.cancel()
    with pytest.raises(asyncio.CancelledError):
        await call
    assert await hostile.compute("echo", {"value": 2}, SMALL) == 2
    assert len(hostile.pids) == 1
    await eventually(lambda: children_of(os.getpid(), "computing.child") == hostile.pids)


def children_of(parent: int, program: str) -> list[int]:
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(FileNotFoundError, ProcessLookupError):
            of = int((folder / "stat").read_text().rpartition(")")[2].split()[1])
            if of == parent and program in (folder / "cmdline").read_text():
                found.append(int(folder.name))
    return found


async def test_a_child_killed_while_idle_or_at_work_costs_no_call(hostile: ProcessComputations) -> None:
    pid = await hostile.compute("pid", {}, SMALL)
    os.kill(pid, signal.SIGKILL)
    assert await hostile.compute("echo", {"value": 1}, SMALL) == 1
    call = asyncio.create_task(hostile.compute("sleep", {"seconds": 0.4}, SMALL))
    await asyncio.sleep(0.1)
    os.kill(hostile.pids[0], signal.SIGKILL)
    assert await call is None


async def test_many_calls_share_few_children_and_a_misbehaving_one_costs_only_its_own() -> None:
    async with opened(processes=2) as hostile:
        odd = {50: "spin", 120: "exit"}
        calls = [hostile.compute(odd.get(n, "echo"), {"value": n}, SMALL) for n in range(200)]
        results = await asyncio.gather(*calls, return_exceptions=True)
        assert len(hostile.pids) <= 2
    assert isinstance(results[50], LimitReachedError)
    assert isinstance(results[120], ComputationError)
    assert [result for n, result in enumerate(results) if n not in odd] == [n for n in range(200) if n not in odd]


async def test_no_child_is_started_before_it_is_needed_and_one_is_enough_for_one_call_at_a_time() -> None:
    async with opened(processes=8) as hostile:
        assert hostile.pids == []
        pids = {await hostile.compute("pid", {}, SMALL) for _ in range(20)}
        assert len(pids) == 1


ORPHANS = """
import asyncio
from services.executor.adapters.computing.processes import ProcessComputations
from services.executor.ports import Allowance

async def main():
    hostile = ProcessComputations(entry="tests.hostile_computations:compute")
    calls = [asyncio.ensure_future(hostile.compute("echo", {"value": n}, Allowance())) for n in range(2)]
    await asyncio.gather(*calls)
    spinning = asyncio.ensure_future(hostile.compute("spin", {}, Allowance(cpu_seconds=600)))
    await asyncio.sleep(0.2)
    print(*hostile.pids, flush=True)
    await spinning

asyncio.run(main())
"""


async def test_children_end_with_a_parent_that_is_killed_idle_ones_and_busy_ones() -> None:
    environment = {**os.environ, "PYTHONPATH": "."}
    parent = await asyncio.create_subprocess_exec(sys.executable, "-c", ORPHANS, stdout=PIPE, env=environment)
    assert parent.stdout is not None
    pids = [int(pid) for pid in (await parent.stdout.readline()).split()]
    assert len(pids) == 2
    assert all(exists(pid) for pid in pids)
    parent.kill()
    await parent.wait()
    await eventually(lambda: not any(exists(pid) for pid in pids), timeout_seconds=5)


def misbehaving(way: str, **limits: Any) -> dict[str, Any]:
    steps = [
        {"name": "before", "type": "set_variable", "variable": "v", "value": "kept"},
        {"name": "odd", "type": "function", "function": "arithmetic", "arguments": {"expression": way}, "on_error": "continue"},
        {"name": "after", "type": "set_variable", "variable": "w", "value": "never"},
    ]
    return {"name": "misbehaving", "steps": steps, "limits": limits}


@pytest.mark.parametrize(
    ("way", "limits", "code"),
    [
        ("spin", {"cpu_seconds": 0.2}, "limit_reached:cpu_seconds"),
        ("hog", {"memory_mb": 32}, "limit_reached:memory_mb"),
        ("sleep", {"seconds": 0.5}, "limit_reached:seconds"),
    ],
)
async def test_a_limit_of_a_computation_ends_the_run_with_a_typed_error_and_what_was_done_is_kept(
    hostile: ProcessComputations, way: str, limits: dict[str, Any], code: str
) -> None:
    kit = ExecutorKit(computations=hostile)
    await hostile.compute("echo", {"value": 1}, SMALL)
    run = await kit.trial(misbehaving(way, **limits))
    assert (run.status, run.error_code) == ("failed", code)
    assert (run.steps[0].name, run.steps[0].status) == ("before", "ok")
    assert "after" not in [step.name for step in run.steps]
    assert (await kit.trial(misbehaving("pid"), run_id="next")).status == "succeeded"


async def test_cancelling_a_run_ends_its_computation_at_once(hostile: ProcessComputations) -> None:
    kit = ExecutorKit(computations=hostile)
    await hostile.compute("echo", {"value": 1}, SMALL)
    (pid,) = hostile.pids
    running = asyncio.create_task(kit.trial(misbehaving("spin", cpu_seconds=60)))
    await eventually(lambda: Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "R")
    await cancel_run(CancelRun(run_id="run-1"), new_id(), kit.executor)
    assert (await running).status == "cancelled"
    await eventually(lambda: not exists(pid), timeout_seconds=1)


BOMBS = {
    "a list that doubles": "|".join(["[@,@][]"] * 40),
    "a text that triples": "|".join(["join('',[@,@,@])"] * 40),
    "a value that is small in memory and endless as JSON": "|".join(["[@,@]"] * 40),
}


@pytest.mark.parametrize("query", BOMBS)
async def test_an_expression_that_grows_without_bound_ends_its_run_and_nothing_else(query: str) -> None:
    expression = BOMBS[query]
    data = "a" if "join" in expression else ["a"]
    step = {"name": "bomb", "type": "data_transform", "input": data, "query": expression, "on_error": "continue"}
    async with opened(COMPUTE) as computations:
        kit = ExecutorKit(computations=computations)
        run = await kit.trial({"name": "p", "steps": [step], "limits": {"cpu_seconds": 0.7, "memory_mb": 32}})
        assert run.status == "failed"
        assert run.error_code in ("limit_reached:cpu_seconds", "limit_reached:memory_mb")  # whichever it meets first
        fine = await kit.trial({"name": "p", "steps": [{**step, "query": "@"}]}, run_id="next")
        assert (fine.status, fine.outputs) == ("succeeded", data)


async def test_a_transform_refuses_in_its_child_what_it_refuses_here() -> None:
    async with opened(COMPUTE) as computations:

        async def transformed(data: Any, query: str, *operations: Any) -> Any:
            return await computations.compute(
                "data_transform", {"data": data, "query": query, "operations": operations}, Allowance()
            )

        assert await transformed([{"a": 1}, {"a": 2}], "[?a > `1`]") == [{"a": 2}]
        with pytest.raises(InvalidInputError, match="needs a list, not dict"):
            await transformed({}, "@", {"op": "limit", "count": 1})
        with pytest.raises(StepLimitError, match="join makes more than"):
            join = {"op": "join", "on": "@.k", "with": [{"k": 1}] * 1100, "how": "inner"}
            await transformed([{"k": 1}] * 1100, "@", join)
        with pytest.raises(EvolineError, match="not JSON compliant"):
            await transformed("nan", "to_number(@)")
