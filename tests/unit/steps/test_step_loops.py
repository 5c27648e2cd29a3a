"""`for_loop`, `while_loop`, `switch`, `set_variable`: steps inside steps."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import ValidationError

from shared.errors import InvalidInputError, LimitReachedError, ProviderError, StepLimitError
from shared.pipeline.completion import CompletionRequest
from shared.pipeline.document import Step
from shared.pipeline.steps import step_type
from tests.fakes.step_context import ScriptedStepContext, run_step

ASK = {"name": "ask", "type": "claude", "prompt": "Say {{ loop.item }} at {{ loop.index }}"}
COUNT = {"name": "count", "type": "set_variable", "variable": "n", "value": "{{ vars.n + 1 }}"}


def echo(request: CompletionRequest) -> str:
    return request.messages[-1].text


def fail_on(word: str):  # type: ignore[no-untyped-def]
    return lambda request: ProviderError("server", "broken") if word in echo(request) else echo(request)


async def test_the_loop_item_binds_anew_in_every_round() -> None:
    context = ScriptedStepContext(echo, names={"names": ["Ann", "Bob"]})
    result = await run_step(context, type="for_loop", items="{{ names }}", steps=[ASK])
    assert result.value == ["Say Ann at 0", "Say Bob at 1"]
    assert context.positions == ["s[0].ask", "s[1].ask"]


async def test_items_may_be_a_list_a_count_or_nothing() -> None:
    listed = await run_step(ScriptedStepContext(echo, names={"x": 7}), type="for_loop", items=["a", "{{ x }}"], steps=ASK)
    assert listed.value == ["Say a at 0", "Say 7 at 1"]
    assert (await run_step(ScriptedStepContext(echo), type="for_loop", times=2, steps=[ASK])).value == ["Say 0 at 0", "Say 1 at 1"]
    empty = await run_step(ScriptedStepContext(echo), type="for_loop", items=[], steps=[ASK])
    assert (empty.value, empty.status) == ([], "ok")


async def test_items_are_data_and_never_expanded_again() -> None:
    context = ScriptedStepContext(echo, names={"names": ["{{ secret }}"]})
    result = await run_step(context, type="for_loop", items="{{ names }}", steps=[{**ASK, "prompt": "{{ loop.item }}"}])
    assert result.value == ["{{ secret }}"]


async def test_a_parallel_loop_keeps_order_and_never_exceeds_its_cap() -> None:
    context = ScriptedStepContext(echo)
    result = await run_step(context, type="for_loop", times=20, steps=[ASK], max_parallel=3)
    assert result.value == [f"Say {n} at {n}" for n in range(20)]
    assert context.load.most_at_once == 3


async def test_more_items_than_max_iterations_run_nothing() -> None:
    context = ScriptedStepContext(echo, names={"many": list(range(101))})
    with pytest.raises(StepLimitError) as caught:
        await run_step(context, type="for_loop", items="{{ many }}", steps=[ASK])
    assert (caught.value.limit, context.requests) == ("max_iterations", [])
    assert (await run_step(context, type="for_loop", items="{{ many }}", steps=[ASK], max_iterations=101)).status == "ok"


async def test_items_must_be_a_list() -> None:
    with pytest.raises(InvalidInputError, match="must be a list, not str"):
        await run_step(ScriptedStepContext(names={"x": "text"}), type="for_loop", items="{{ x }}", steps=[ASK])


async def test_a_failed_round_ends_the_loop_and_keeps_what_was_done() -> None:
    context = ScriptedStepContext(fail_on("1 at"))
    result = await run_step(context, type="for_loop", times=4, steps=[ASK])
    assert (result.status, result.value, result.error_code) == ("failed", ["Say 0 at 0", None, None, None], "provider")
    assert "round 1" in result.error and len(context.requests) == 2


async def test_a_failed_round_may_be_left_out_and_then_the_loop_is_degraded() -> None:
    result = await run_step(ScriptedStepContext(fail_on("1 at")), type="for_loop", times=3, steps=[ASK], on_item_error="continue")
    assert (result.status, result.value) == ("degraded", ["Say 0 at 0", None, "Say 2 at 2"])
    assert result.warnings == ("round 1: step `ask`: broken",)


async def test_an_inner_step_that_may_fail_degrades_the_loop() -> None:
    may_fail = {**ASK, "name": "risky", "on_error": "continue"}
    result = await run_step(
        ScriptedStepContext(fail_on("0 at")), type="for_loop", times=1, steps=[may_fail, {**ASK, "prompt": "end"}]
    )
    assert (result.status, result.value) == ("degraded", ["end"])


async def test_a_degraded_inner_step_is_never_counted_as_success() -> None:
    robust = {"name": "ask", "type": "claude_robust", "prompt": "x", "fallbacks": ["provider"], "retry": {"max_attempts": 1}}
    context = ScriptedStepContext(lambda request: "g" if request.family == "gemini" else ProviderError("server", "broken"))
    assert (await run_step(context, type="for_loop", times=1, steps=[robust])).status == "degraded"


async def test_a_limit_of_the_run_ends_the_loop_at_once() -> None:
    context = ScriptedStepContext("one", LimitReachedError("calls", "used up"))
    with pytest.raises(LimitReachedError):
        await run_step(context, type="for_loop", times=5, steps=[ASK])
    assert len(context.requests) == 2


async def test_inner_steps_see_each_other_and_skipped_ones_give_no_value() -> None:
    steps = [ASK, {"name": "twice", "type": "claude", "prompt": "{{ steps.ask.text }}!"}, {**ASK, "name": "never", "when": "false"}]
    result = await run_step(ScriptedStepContext(echo), type="for_loop", times=1, steps=steps)
    assert "Say 0 at 0" in result.value[0] and result.value[0].endswith("!")


async def test_loops_nest_with_whole_positions() -> None:
    context = ScriptedStepContext(echo)
    inner = {"name": "inner", "type": "for_loop", "times": 1, "steps": [ASK]}
    result = await run_step(context, type="for_loop", times=2, steps=[inner])
    assert result.value == [["Say 0 at 0"], ["Say 0 at 0"]]
    assert context.positions == ["s[0].inner", "s[0].inner[0].ask", "s[1].inner", "s[1].inner[0].ask"]


async def test_while_runs_until_its_condition_is_false() -> None:
    context = ScriptedStepContext()
    context.variables["n"] = 0
    result = await run_step(context, type="while_loop", condition="vars.n < 3", steps=[COUNT])
    assert (result.value, result.status, context.variables) == (3, "ok", {"n": 3})


async def test_while_may_not_run_at_all() -> None:
    context = ScriptedStepContext()
    context.variables["n"] = 9
    result = await run_step(context, type="while_loop", condition="{{ vars.n < 3 }}", steps=[COUNT])
    assert (result.value, result.status, context.positions) == (None, "ok", [])


async def test_a_condition_on_the_loops_own_steps_is_looked_at_after_every_round() -> None:
    context = ScriptedStepContext("no", "no", "yes")
    ask = {"name": "check", "type": "claude", "prompt": "Done?"}
    result = await run_step(context, type="while_loop", condition="steps.check.value != 'yes'", steps=[ask])
    assert (result.value, len(context.requests)) == ("yes", 3)


async def test_a_round_sees_the_last_one() -> None:
    context = ScriptedStepContext(echo)
    ask = {"name": "more", "type": "claude", "prompt": "{% if loop.previous %}{{ loop.previous }}{% endif %}x"}
    result = await run_step(context, type="while_loop", condition="loop.index < 3", steps=[ask])
    assert result.value == "xxx"


async def test_while_stops_at_its_bound_as_degraded() -> None:
    context = ScriptedStepContext()
    context.variables["n"] = 0
    result = await run_step(context, type="while_loop", condition="true", steps=[COUNT], max_iterations=4)
    assert (result.status, result.value) == ("degraded", 4)
    assert "stopped after 4 rounds" in result.warnings[0]


async def test_a_failed_round_of_while_keeps_what_the_last_one_reached() -> None:
    context = ScriptedStepContext("first", ProviderError("server", "broken"))
    result = await run_step(context, type="while_loop", condition="true", steps=[{"name": "ask", "type": "claude", "prompt": "x"}])
    assert (result.status, result.value, result.error) == ("failed", "first", "round 1: step `ask`: broken")


@pytest.mark.parametrize(
    ("value", "chosen"),
    [("{{ kind }}", "spam-way"), ("{{ flag }}", "true-way"), ("{{ number }}", "two-way"), ("other", "default-way")],
)
async def test_switch_runs_one_case_by_value(value: str, chosen: str) -> None:
    context = ScriptedStepContext(echo, names={"kind": "spam", "flag": True, "number": 2})
    cases: dict[Any, Any] = {name: [way(f"{label}-way")] for name, label in (("spam", "spam"), (True, "true"), (2, "two"))}
    result = await run_step(context, type="switch", value=value, cases=cases, default=way("default-way"))
    assert (result.value, len(context.requests)) == (chosen, 1)


def way(text: str) -> dict[str, Any]:
    return {"name": text.replace("-", "_"), "type": "claude", "prompt": text}


async def test_switch_takes_the_first_true_condition() -> None:
    context = ScriptedStepContext(echo, names={"n": 5})
    cases = [
        {"condition": "n > 9", "steps": way("big")},
        {"condition": "n > 3", "steps": [way("middle")]},
        {"condition": "true", "steps": way("any")},
    ]
    result = await run_step(context, type="switch", cases=cases)
    assert (result.value, context.positions) == ("middle", ["s[1].middle"])


async def test_switch_without_a_fitting_case_is_skipped() -> None:
    result = await run_step(ScriptedStepContext(echo), type="switch", value="x", cases={"y": way("y")})
    assert (result.status, result.value) == ("skipped", None)
    none = await run_step(ScriptedStepContext(echo), type="switch", cases=[{"condition": "false", "steps": way("y")}])
    assert none.status == "skipped"


async def test_a_failed_case_fails_the_switch() -> None:
    result = await run_step(ScriptedStepContext(ProviderError("server", "broken")), type="switch", value="y", cases={"y": way("y")})
    assert (result.status, result.error_code) == ("failed", "provider")


async def test_set_variable_keeps_native_types() -> None:
    context = ScriptedStepContext(names={"found": {"a": [1, 2]}})
    one = await run_step(context, type="set_variable", variable="x", value="{{ found.a }}")
    assert (one.value, context.variables) == ([1, 2], {"x": [1, 2]})
    many = await run_step(context, type="set_variable", variables={"y": "{{ vars.x }}", "z": True})
    assert (many.value, context.variables["y"]) == ({"y": [1, 2], "z": True}, [1, 2])


@pytest.mark.parametrize(
    "keys",
    [
        {"type": "for_loop", "steps": [ASK]},
        {"type": "for_loop", "steps": [ASK], "items": [1], "times": 1},
        {"type": "for_loop", "items": [1], "steps": []},
        {"type": "for_loop", "times": 5, "max_iterations": 4, "steps": [ASK]},
        {"type": "for_loop", "times": 1, "steps": [{"name": "x", "type": "nonsense"}]},
        {"type": "while_loop", "steps": [ASK]},
        {"type": "while_loop", "condition": "", "steps": [ASK]},
        {"type": "switch", "cases": {}},
        {"type": "switch", "cases": {"a": way("a")}},
        {"type": "switch", "value": "x", "cases": [{"condition": "true", "steps": way("a")}]},
        {"type": "set_variable"},
        {"type": "set_variable", "variable": "a b", "value": 1},
        {"type": "set_variable", "variable": "a", "value": 1, "variables": {"b": 2}},
    ],
)
def test_what_makes_no_sense_is_refused(keys: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        Step.model_validate({"name": "s", **keys})


def test_static_facts_give_inner_steps_bounds_and_conditions() -> None:
    loop = Step.model_validate({"name": "s", "type": "for_loop", "items": ["a", "b"], "steps": [ASK]})
    kind = step_type("for_loop")
    assert ([step.name for step in kind.inner_steps(loop.options)], kind.repeats(loop.options), kind.max_calls(loop.options)) == (
        ["ask"],
        2,
        0,
    )
    again = Step.model_validate({"name": "s", "type": "while_loop", "condition": "vars.n", "steps": [ASK], "max_iterations": 9})
    assert step_type("while_loop").templates(again.options) == (("condition", "vars.n"),)
    assert step_type("while_loop").repeats(again.options) == 9
    choice = Step.model_validate(
        {"name": "s", "type": "switch", "cases": [{"condition": "x", "steps": way("a")}], "default": way("b")}
    )
    assert step_type("switch").templates(choice.options) == (("cases[0].condition", "x"),)
    assert [step.name for step in step_type("switch").inner_steps(choice.options)] == ["a", "b"]


def test_steps_with_inner_steps_round_trip() -> None:
    for keys in (
        {"type": "for_loop", "times": 2, "steps": [ASK]},
        {"type": "while_loop", "condition": "vars.n", "steps": [COUNT]},
        {"type": "switch", "value": "{{ x }}", "cases": {"a": way("a")}, "default": way("b")},
        {"type": "switch", "cases": [{"condition": "x", "steps": way("a")}]},
    ):
        step = Step.model_validate({"name": "s", **keys})
        assert Step.model_validate(step.flat()) == step
