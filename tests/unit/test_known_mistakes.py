"""The mistakes of the earlier system that this one was specified for, each with the tests that would find it again.

Where a mistake had no test of its own beside the code, it stands in this file. The names are checked: a test that is renamed or
taken away fails here.
"""

from __future__ import annotations

import ast
from pathlib import Path
from typing import Any

import pytest

from shared.errors import InvalidInputError
from shared.pipeline.loading import load_document
from tests.fakes.executor import ExecutorKit
from tests.fakes.language_model import ScriptedModel

UNIT = "tests/unit"
STEPS = f"{UNIT}/steps"
EXECUTOR = f"{UNIT}/executor"
HERE = f"{UNIT}/test_known_mistakes.py"

INDEX: dict[str, tuple[str, ...]] = {
    "a structured result inside a prompt renders as JSON": (
        f"{STEPS}/test_step_completion.py::test_a_structured_result_inside_a_prompt_renders_as_json",
        f"{UNIT}/pipeline/test_pipeline_prompts.py::test_a_structured_result_inside_a_prompt_is_json",
    ),
    "an undefined name is an error before the run": (
        f"{HERE}::test_an_undefined_name_is_an_error_before_the_run",
        f"{HERE}::test_an_input_that_nobody_gives_is_an_error_before_the_first_step",
        f"{STEPS}/test_step_completion.py::test_an_undefined_name_is_an_error_and_no_call_is_made",
    ),
    "{{loop.item}} binds per iteration": (
        f"{STEPS}/test_step_loops.py::test_the_loop_item_binds_anew_in_every_round",
        f"{HERE}::test_the_loop_item_binds_anew_in_every_round_of_a_real_run_side_by_side_too",
    ),
    "data_transform gives the same answer at 10 and 10,001 rows": (
        f"{STEPS}/test_step_data.py::test_the_same_answer_at_ten_rows_and_at_ten_thousand_and_one",
    ),
    "a batch of three prompts makes three calls with non-empty text": (
        f"{STEPS}/test_step_many_prompts.py::test_a_batch_of_three_prompts_makes_three_calls_with_non_empty_text_in_order",
    ),
    "the same session name continues the same transcript from another process after a restart": (
        "tests/integration/test_sessions_across_processes.py::"
        "test_the_same_session_name_continues_the_same_transcript_from_another_process",
        f"{STEPS}/test_step_session.py::test_the_same_session_name_continues_the_same_transcript_in_another_run",
    ),
    "a time-out is retried": (
        f"{EXECUTOR}/test_executing_steps.py::test_a_time_out_is_retried_like_a_provider_error",
        f"{STEPS}/test_step_robust.py::test_a_time_out_and_every_other_passing_failure_is_retried",
    ),
    "a degraded answer is never counted as success": (
        f"{STEPS}/test_step_loops.py::test_a_degraded_inner_step_is_never_counted_as_success",
        f"{STEPS}/test_step_many_prompts.py::test_enough_good_answers_are_degraded_and_never_ok",
        f"{STEPS}/test_step_pipelines.py::test_failed_runs_are_errors_and_never_count_as_success",
        f"{EXECUTOR}/test_executing_steps.py::test_a_degraded_round_makes_the_run_degraded",
        f"{EXECUTOR}/test_executing_steps.py::test_a_fallback_answers_in_the_steps_place_and_is_degraded",
        f"{UNIT}/analytics/test_aggregates.py::test_a_degraded_run_is_not_a_success",
        f"{UNIT}/evidence/test_graders.py::test_only_a_succeeded_run_earns_a_grade",
        f"{UNIT}/generator/test_generating.py::test_degraded_answers_never_win",
        f"{UNIT}/evolution/test_evaluations.py::test_runs_that_did_not_end_or_did_not_succeed_are_failures_and_stay_so",
        f"{UNIT}/guardrail/test_change_flow.py::test_degraded_answers_are_never_successes_at_the_gate_however_right_they_are",
    ),
    "file access outside the workspace (.., absolute, link) is refused": (
        f"{STEPS}/test_step_data.py::test_paths_out_of_the_workspace_are_refused",
        f"{STEPS}/test_step_data.py::test_links_are_refused_wherever_they_stand",
    ),
    "a changed document never resumes an old run's steps": (
        f"{EXECUTOR}/test_owning_runs.py::test_a_changed_document_never_resumes_an_old_runs_steps",
    ),
    "a time-out interrupts the step instead of noticing afterwards": (
        f"{EXECUTOR}/test_executing_steps.py::test_a_time_out_interrupts_the_step_and_cuts_the_call_off",
        f"{EXECUTOR}/test_executing_steps.py::test_seconds_limit_interrupts_the_run",
    ),
    "counters start at zero in every run": (f"{HERE}::test_counters_start_at_zero_in_every_run",),
    "two different pipelines of one name are not a cycle, a renamed copy of an ancestor is": (
        f"{EXECUTOR}/test_nesting_runs.py::test_two_different_pipelines_of_one_name_are_no_cycle",
        f"{EXECUTOR}/test_nesting_runs.py::test_a_renamed_copy_of_an_ancestor_is_a_cycle_and_is_never_run",
    ),
    "concurrency never exceeds its cap": (
        f"{STEPS}/test_step_many_prompts.py::test_concurrency_never_exceeds_its_cap",
        f"{STEPS}/test_step_loops.py::test_a_parallel_loop_keeps_order_and_never_exceeds_its_cap",
        f"{EXECUTOR}/test_executing_steps.py::test_concurrency_of_calls_never_exceeds_the_documents_cap",
    ),
    "two successes are counted as two": (
        f"{STEPS}/test_step_many_prompts.py::test_two_successes_are_counted_as_two",
        f"{UNIT}/analytics/test_aggregates.py::test_two_successes_are_counted_as_two",
    ),
}

ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize("mistake", INDEX)
def test_every_known_mistake_has_its_tests(mistake: str) -> None:
    for place in INDEX[mistake]:
        path, _, name = place.partition("::")
        tree = ast.parse((ROOT / path).read_text())
        assert name in {node.name for node in tree.body if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)}, place


def pipeline(*steps: dict[str, Any], **keys: Any) -> dict[str, Any]:
    return {"name": "p", "steps": list(steps), **keys}


ASK = {"name": "ask", "type": "claude", "prompt": "Say {{ loop.item }} of {{ kinds }}"}


@pytest.mark.parametrize(
    ("prompt", "reason"),
    [
        ("Use {{ steps.nobody.result }}", "nobody"),
        ("Use {{ step.first.result }}", "unknown name `step`"),
        ("Use {{ loop.item }}", "loop"),
        ("Use {{ vars.never_set }}", "no step of this document sets a variable"),
        ("Use {{ run.nothing }}", "nothing"),
        ("Use {{ steps.first.result | uper }}", "uper"),
    ],
)
def test_an_undefined_name_is_an_error_before_the_run(prompt: str, reason: str) -> None:
    first = {"name": "first", "type": "claude", "prompt": "Think"}
    with pytest.raises(InvalidInputError, match=reason):
        load_document(pipeline(first, {"name": "second", "type": "claude", "prompt": prompt}, inputs={"ticket": "string"}))


async def test_an_input_that_nobody_gives_is_an_error_before_the_first_step() -> None:
    model = ScriptedModel()
    run = await ExecutorKit(model=model).trial(pipeline(dict(ASK, prompt="Say hello"), dict(ASK, name="b", prompt="Use {{ who }}")))
    assert (run.status, run.error_code, run.steps, model.requests) == ("refused", "invalid_input", (), [])
    assert "who" in run.error


async def test_the_loop_item_binds_anew_in_every_round_of_a_real_run_side_by_side_too() -> None:
    model = ScriptedModel(lambda request: request.messages[0].text, delay_seconds=0.01)
    loop = {"name": "each", "type": "for_loop", "items": ["a", "b", "c"], "steps": [ASK], "max_parallel": 3}
    run = await ExecutorKit(model=model).trial(pipeline(loop), inputs={"kinds": "x"})
    assert run.outputs == ["Say a of x", "Say b of x", "Say c of x"]


async def test_counters_start_at_zero_in_every_run() -> None:
    """Usage, attempts, steps, variables, loop rounds and what is left of the limits: in one executor, run after run."""
    count = {"name": "count", "type": "set_variable", "variable": "n", "value": "{{ (vars.n | default(0)) + 1 }}"}
    ask = {"name": "ask", "type": "claude", "prompt": "Say {{ loop.index }}", "retry": {"max_attempts": 2, "initial_seconds": 0}}
    loop = {"name": "twice", "type": "for_loop", "times": 2, "steps": [count, ask]}
    document = pipeline(loop, limits={"calls": 2, "steps": 5}, outputs={"n": "{{ vars.n }}", "said": "{{ steps.twice.value }}"})
    kit = ExecutorKit(model=ScriptedModel(lambda request: request.messages[0].text))
    runs = [await kit.trial(document, run_id=f"run-{number}") for number in range(4)]
    assert [run.status for run in runs] == ["succeeded"] * 4
    assert [run.outputs for run in runs] == [{"n": 2, "said": ["Say 0", "Say 1"]}] * 4
    assert {run.usage.calls for run in runs} == {2}
    assert {step.attempts for run in runs for step in run.steps} == {1}
    assert {run.resumed for run in runs} == {0}
