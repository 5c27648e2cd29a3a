"""A wrong document is refused with every problem at once: file, line, path, reason, suggestion."""

from __future__ import annotations

from typing import Any

import pytest

from shared.errors import InvalidInputError, Problem
from shared.pipeline.loading import load_document


def problems_of(source: Any, file: str = "p.yaml") -> tuple[Problem, ...]:
    with pytest.raises(InvalidInputError) as caught:
        load_document(source, file=file)
    return caught.value.problems


def step(**keys: Any) -> dict[str, Any]:
    return {"name": "a", "type": "claude", "prompt": "Say hello.", **keys}


def document(*steps: dict[str, Any], **keys: Any) -> dict[str, Any]:
    return {"name": "p", "steps": list(steps) or [step()], **keys}


BROKEN = """\
name: support triage
inputs: {ticket: sting}
limits: {secnds: 3, calls: -1}
steps:
  - name: classify
    type: cluade
    promt: hi
  - name: classify
    type: claude
    prompt: |
      One line
      {{ ticket | uper }}
    max_tokens: lots
"""


def test_all_problems_of_shape_are_reported_at_once_with_line_path_and_suggestion() -> None:
    found = {problem.path: problem for problem in problems_of(BROKEN)}
    assert {path: problem.line for path, problem in found.items()} == {
        "name": 1,
        "inputs.ticket": 2,
        "limits.secnds": 3,
        "limits.calls": 3,
        "steps[0].type": 6,
        "steps[1].name": 8,
        "steps[1].prompt": 12,
        "steps[1].max_tokens": 13,
    }
    assert all(problem.file == "p.yaml" for problem in found.values())
    assert "`string`" in found["inputs.ticket"].suggestion
    assert "`seconds`" in found["limits.secnds"].suggestion
    assert "`claude`" in found["steps[0].type"].suggestion


CONFUSED = """\
workflow:
  name: p
  inputs: {ticket: string}
  steps:
    - name: first
      type: claude
      prompt: |
        Read this
        {{ steps.second.result }} and {{ tickets }}
    - name: second
      type: claude
      prompt: "{{ steps.frist.result }} {{ ticket | uper }}"
      after: [second, third]
    - name: second
      type: claude_extract
      prompt: "{{ loop.item }}"
  outputs: {label: "{{ steps.nobody.result }}"}
"""


def test_all_problems_of_reference_are_reported_at_once_with_the_line_inside_the_text() -> None:
    found = [(problem.line, problem.path, problem.reason) for problem in problems_of(CONFUSED)]
    assert (9, "steps[0].prompt", "step `second` has not run at this place") in found
    assert (9, "steps[0].prompt", "unknown name `tickets`") in found
    assert (12, "steps[1].prompt", "unknown step `frist`") in found
    assert (12, "steps[1].prompt", "unknown filter `uper`") in found
    assert (13, "steps[1].after[0]", "a step cannot come after itself") in found
    assert (13, "steps[1].after[1]", "unknown step `third`") in found
    assert (17, "outputs.label", "unknown step `nobody`") in found
    assert any("2 steps are called `second`" in reason for _, _, reason in found)
    assert any("`loop` exists only inside a loop step" in reason for _, _, reason in found)
    assert any(path.endswith("schema") for _, path, _ in found)


@pytest.mark.parametrize(
    ("source", "path", "reason", "suggestion"),
    [
        (document(step(promt="x")), "steps[0].promt", "unknown key `promt` for step type `claude`", "`prompt`"),
        (document(setps=[]), "setps", "unknown key `setps`", "`steps`"),
        ({"name": "p"}, "steps", "`steps` is missing", "add it"),
        ({"name": "p", "steps": []}, "steps", "must not be empty", ""),
        (document({"name": "a", "prompt": "x"}), "steps[0].type", "`type` is missing", "add it"),
        (document(step(prompt=5)), "steps[0].prompt", "must be text", "quotes"),
        (document(step(max_tokens=True)), "steps[0].max_tokens", "not true or false", ""),
        (document(step(on_error="ignore")), "steps[0].on_error", "must be `fail`, `continue` or a map", ""),
        (
            document(step(on_error={"fallback": step(name="b", type="x")})),
            "steps[0].on_error.fallback.type",
            "unknown step type",
            "",
        ),
        (document(step(retry={"max_atempts": 3})), "steps[0].retry.max_atempts", "unknown key", "`max_attempts`"),
        (
            document(step(retry={"initial_seconds": 9, "max_seconds": 1})),
            "steps[0].retry.initial_seconds",
            "above `max_seconds`",
            "",
        ),
        (document(step(schema={"a": "nmber"})), "steps[0].schema.a", "unknown type `nmber`", "`number`"),
        (document(step(schema={"$ref": "http://x/y"})), "steps[0].schema.$ref", "may only refer to itself", ""),
        (document(step(prompt="{{ x")), "steps[0].prompt", "unexpected end of template", "`}}`"),
        (document(step(prompt="{% set a = 1 %}")), "steps[0].prompt", "`assign` is not allowed", ""),
        (document(step(prompt="{{ run.colour }}")), "steps[0].prompt", "`run` has no field `colour`", ""),
        (document(step(prompt="{{ pipeline.nam }}")), "steps[0].prompt", "`pipeline` has no field `nam`", "`name`"),
        (document(step(prompt="{{ vars.x }}")), "steps[0].prompt", "no step of this document sets a variable", "set_variable"),
        (document(step(when="x and")), "steps[0].when", "unexpected", ""),
        (document(step(when="{% if x %}a{% endif %}")), "steps[0].when", "must be one expression", ""),
        (document(step(prompt="  ")), "steps[0].prompt", "needs a prompt", ""),
        (document(inputs={"steps": "string"}), "inputs.steps", "cannot name an input", ""),
        (document(inputs={"n": {"type": "integer", "default": "x"}}), "inputs.n.default", "does not fit its own schema", ""),
        (document(step(max_tokens=900), limits={"tokens": 500}), "steps[0].max_tokens", "the whole run only 500", ""),
        (document(step(), step(name="b"), limits={"steps": 1}), "limits.steps", "2 steps, but the limit is 1", ""),
        (
            document(step(schema={"label": "string"}), outputs={"x": "{{ steps.a.valu }}"}),
            "outputs.x",
            "no field",
            "",
        ),
    ],
)
def test_one_mistake_gives_its_own_problem(source: dict[str, Any], path: str, reason: str, suggestion: str) -> None:
    found = problems_of(source)
    assert [problem.path for problem in found] == [path]
    assert reason in found[0].reason
    assert suggestion in found[0].suggestion


def test_a_field_is_checked_as_deep_as_the_schema_goes() -> None:
    schema = {"items": [{"name": "string", "price": {"amount": "number"}}]}
    good = document(step(schema=schema), outputs={"x": "{{ steps.a.result['items'][0].price.amount }}"})
    bad = document(step(schema=schema), outputs={"x": "{{ steps.a.result['items'][0].price.amuont }}"})
    assert load_document(good).outputs
    assert "`amount`" in problems_of(bad)[0].suggestion


def test_steps_that_wait_for_each_other_are_a_cycle() -> None:
    source = document(step(after=["b"]), step(name="b", prompt="{{ steps.a.result }}"), execution="dataflow")
    assert "a -> b -> a" in problems_of(source)[0].reason


def test_dataflow_may_refer_to_steps_written_later() -> None:
    source = document(step(prompt="{{ steps.b.result }}"), step(name="b", prompt="hi", context="none"), execution="dataflow")
    assert load_document(source).steps[0].name == "a"


def test_steps_inside_a_loop_see_the_loop_and_are_not_seen_outside() -> None:
    inner = {"name": "one", "type": "claude", "prompt": "{{ loop.item }} {{ steps.a.result }}"}
    loop = {"name": "all", "type": "for_loop", "items": "{{ steps.a.result }}", "steps": [inner]}
    assert load_document(document(step(), loop, outputs={"x": "{{ steps.all.results }}"}))
    found = problems_of(document(step(), loop, outputs={"x": "{{ steps.one.result }}"}))
    assert "has not run at this place" in found[0].reason


def test_a_schema_is_inferred_for_a_step_inside_a_loop() -> None:
    first = {"name": "one", "type": "claude", "prompt": "{{ loop.item }}"}
    second = {"name": "two", "type": "claude", "prompt": "{{ steps.one.label }}"}
    loop = {"name": "all", "type": "for_loop", "items": ["x"], "steps": [first, second]}
    inner = load_document(document(loop)).canonical()["steps"][0]["steps"][0]
    assert inner["schema"]["required"] == ["label"]


def test_a_fallback_without_a_name_gets_one() -> None:
    loaded = load_document(document(step(on_error={"fallback": {"type": "gemini", "prompt": "Say hello."}})))
    assert loaded.canonical()["steps"][0]["on_error"]["fallback"]["name"] == "a_fallback"


def test_the_document_is_detached_from_the_map_that_it_was_loaded_from() -> None:
    source = document(outputs={"x": ["{{ steps.a.result }}"]})
    loaded = load_document(source)
    before = loaded.digest
    source["outputs"]["x"].append("more")
    source["steps"][0]["prompt"] = "changed"
    assert loaded.digest == before


def test_defaults_fill_in_what_a_step_does_not_say() -> None:
    loaded = load_document(document(step(), step(name="b", temperature=1), defaults={"temperature": 0, "max_tokens": 7}))
    first, second = (loaded.effective(each) for each in loaded.steps)
    assert (first.temperature, first.max_tokens) == (0, 7)
    assert (second.temperature, second.max_tokens) == (1, 7)


@pytest.mark.parametrize("source", ["[1, 2]", "5", "just text", "workflow: 3"])
def test_what_is_no_map_is_no_pipeline(source: str) -> None:
    assert "must be a map" in problems_of(source)[0].reason
