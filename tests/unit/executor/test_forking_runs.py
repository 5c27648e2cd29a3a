"""A fork takes over finished steps that are the same, and nothing else."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from services.executor.use_cases import describe_run, fork_run, run_log
from shared.errors import InvalidInputError, ProviderError
from shared.events.runs import ExecuteRun, ForkRun, GetRun
from shared.events.transfer import GetRunLog
from tests.fakes.executor import ExecutorKit
from tests.fakes.language_model import ScriptedModel


def revision(second_prompt: str = "Then {{ topic }}?", first_prompt: str = "First?") -> dict[str, Any]:
    steps = [
        {"name": "one", "type": "claude", "prompt": first_prompt, "context": "none"},
        {"name": "two", "type": "claude", "prompt": second_prompt, "context": "none"},
    ]
    return {"name": "forked", "inputs": {"topic": "string"}, "steps": steps, "outputs": {"said": "{{ steps.two.text }}"}}


async def finished_run(kit: ExecutorKit) -> None:
    await kit.notary.deploy(kit.guardrail, revision())
    await kit.execute(ExecuteRun(run_id="run-1", pipeline="forked", inputs={"topic": "rain"}))


async def forked(kit: ExecutorKit, **fields: Any) -> ExecuteRun:
    ((_, order),) = await fork_run(ForkRun(**{"run_id": "run-1", "new_run_id": "fork-1", **fields}), kit.executor)
    assert isinstance(order, ExecuteRun)
    return order


def prompts(kit: ExecutorKit) -> list[str]:
    assert isinstance(kit.model, ScriptedModel)
    return [request.messages[-1].text for request in kit.model.requests]


async def test_a_fork_keeps_what_came_before_and_asks_the_rest_with_edited_inputs() -> None:
    kit = ExecutorKit()
    await finished_run(kit)
    order = await forked(kit, from_step="two", inputs={"topic": "snow"}, author="ann")
    run = await kit.execute(order)
    assert run.status == "succeeded"
    assert ["snow" in prompt for prompt in prompts(kit)] == [False, False, True]
    assert run.usage.calls == 1, "what it took over was paid for before"
    assert run.forked_from is not None
    assert (run.forked_from.run_id, run.forked_from.from_step, run.forked_from.author) == ("run-1", "two", "ann")
    described = await describe_run(GetRun(run_id="fork-1"), kit.runs, kit.journal)
    assert [step["position"] for step in described["steps"]] == ["one", "two"]


async def test_forking_twice_is_one_fork_and_its_id_is_taken_then() -> None:
    kit = ExecutorKit()
    await finished_run(kit)
    order = await forked(kit, from_step="two")
    assert await forked(kit, from_step="two") == order
    first = await kit.execute(order)
    assert await kit.execute(order) == first
    assert await forked(kit, from_step="two") == order
    with pytest.raises(InvalidInputError, match="fork-1 is the id of another run"):
        await forked(kit, from_step="one")


async def test_without_a_step_a_fork_begins_with_the_first_that_did_not_finish() -> None:
    kit = ExecutorKit(model=ScriptedModel(["ok", ProviderError("server", "no luck"), "ok"]))
    await finished_run(kit)
    run = await kit.execute(await forked(kit))
    assert (run.status, len(prompts(kit))) == ("succeeded", 3)
    with pytest.raises(InvalidInputError, match="every step finished"):
        await forked(kit, run_id="fork-1", new_run_id="fork-2")


async def test_another_revision_is_forked_to_where_the_steps_before_are_the_same() -> None:
    kit = ExecutorKit()
    await finished_run(kit)
    digest = await kit.notary.deploy(kit.guardrail, revision("What else about {{ topic }}?"))
    run = await kit.execute(await forked(kit, from_step="two", pipeline=f"forked@{digest}"))
    assert (run.digest, run.status) == (digest, "succeeded")
    assert "What else" in prompts(kit)[-1]


async def test_a_changed_step_is_never_taken_over() -> None:
    kit = ExecutorKit()
    await finished_run(kit)
    digest = await kit.notary.deploy(kit.guardrail, revision(first_prompt="Something else first?"))
    with pytest.raises(InvalidInputError, match=r"step one is another one in revision.*fork from one or an earlier step"):
        await forked(kit, from_step="two", pipeline=f"forked@{digest}")
    run = await kit.execute(await forked(kit, from_step="one", pipeline=f"forked@{digest}"))
    assert run.usage.calls == 2


async def test_the_log_of_a_fork_has_a_time_in_every_line() -> None:
    kit = ExecutorKit()
    await finished_run(kit)
    await kit.execute(await forked(kit, from_step="two"))
    lines = (await run_log(GetRunLog(run_id="fork-1"), kit.runs, kit.journal))["lines"]
    assert all(line["at"] for line in lines)
    (claim,) = [line["text"] for line in lines if line["kind"] == "claim"]
    assert claim == "takes over the steps that its source finished before"


async def test_an_unknown_step_and_an_unapproved_revision_are_refused() -> None:
    kit = ExecutorKit()
    await finished_run(kit)
    with pytest.raises(InvalidInputError, match=r"no step 'three'.*one, two"):
        await forked(kit, from_step="three")
    with pytest.raises(Exception, match="has no revision"):
        await forked(kit, from_step="two", pipeline=f"forked@{'a' * 64}")


async def test_a_pipeline_that_is_not_there_leads_to_the_list_and_to_the_nearest_name() -> None:
    kit = ExecutorKit()
    await finished_run(kit)
    for reference in ("forkd", "forkd@abcdef12", f"forkd@{'a' * 64}"):
        run = await kit.execute(ExecuteRun(run_id=f"run-{len(reference)}", pipeline=reference, inputs={"topic": "rain"}))
        assert run.status == "refused" and "evoline show" not in run.error
        assert "`evoline pipelines` lists what serves; did you mean forked?" in run.error
        with pytest.raises(Exception, match="did you mean forked"):
            await forked(kit, from_step="two", pipeline=reference)


async def test_of_two_forks_that_want_one_id_at_once_one_is_refused_and_the_other_is_whole() -> None:
    """Both look whether the id is free before either of them takes it."""
    kit = ExecutorKit()
    await finished_run(kit)
    asked = [forked(kit, from_step=step, inputs={"topic": topic}) for step, topic in (("one", "snow"), ("two", "hail"))]
    first, second = await asyncio.gather(*asked, return_exceptions=True)
    (order,) = [each for each in (first, second) if isinstance(each, ExecuteRun)]
    (refusal,) = [each for each in (first, second) if isinstance(each, InvalidInputError)]
    assert "fork-1 is the id of another run" in str(refusal)
    asked_before = len(prompts(kit))
    run = await kit.execute(order)
    assert run.status == "succeeded"
    expected = 2 if order.forked_from and order.forked_from.from_step == "one" else 1
    assert len(prompts(kit)) - asked_before == expected


async def test_steps_of_nested_runs_that_a_fork_takes_over_were_executed_by_the_run_that_it_comes_from() -> None:
    kit = ExecutorKit()
    variable = {"name": "inner", "type": "set_variable", "variable": "v", "value": 1}
    nest = {"name": "nest", "type": "pipeline", "pipeline": {"name": "child", "steps": [variable]}}
    await kit.notary.deploy(kit.guardrail, {"name": "nesting", "steps": [nest, {**variable, "name": "last"}]})
    assert (await kit.execute(ExecuteRun(run_id="run-1", pipeline="nesting"))).steps_executed == 3
    assert (await kit.execute(await forked(kit, from_step="last"))).steps_executed == 1
