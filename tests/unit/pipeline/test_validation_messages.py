"""Mistakes that newcomers make: each is told once, at its line, in words of the language, with what to write instead."""

from __future__ import annotations

from textwrap import dedent

import pytest

from shared.errors import InvalidInputError, Problem
from shared.pipeline.loading import load_document


def problems_of(text: str) -> tuple[Problem, ...]:
    with pytest.raises(InvalidInputError) as caught:
        load_document(dedent(text).lstrip("\n"), file="p.yaml")
    return caught.value.problems


def told(text: str) -> list[tuple[int, str]]:
    return [(problem.line, problem.path) for problem in problems_of(text)]


def step(keys: str, kind: str = "claude") -> str:
    return f"name: p\nsteps:\n  - name: a\n    type: {kind}\n    {keys}\n"


@pytest.mark.parametrize(
    ("text", "path", "reason", "suggestion"),
    [
        ("name: Support-Triage\nsteps: [{name: a, type: claude, prompt: x}]", "name", "no valid name", "as `support_triage`"),
        ("name: p\nsteps: {a: {type: claude}}", "steps", "must be a list, not a map", "`- name: ...`"),
        ("name: p\nsteps: [claude]", "steps[0]", "must be a map, not text", "`type: ...`"),
        ("name: p\nsteps:\n- a: {type: claude, prompt: x}", "steps[0].name", "`name` and `type` are missing", "`- name: a`"),
        ("workflow: {name: p}\nversion: 1", "version", "stands beside `workflow`", "move it"),
        (step("prompt: x\ninputs: [a, b]").replace("    inputs", "inputs"), "inputs", "not a list", "`inputs: {ticket: string}`"),
        (step("prompt: x\noutputs: x").replace("    outputs", "outputs"), "outputs", "must be a map, not text", "`outputs: {label"),
        (step("promt: x"), "steps[0].promt", "unknown key", "`prompt`"),
        (step("prompt: x\n    depends_on: [b]"), "steps[0].depends_on", "unknown key", "`after`"),
        (step("prompt: x\n    timeout: 5"), "steps[0].timeout", "unknown key", "`timeout_seconds`"),
        (step("prompt: x\n    retry: 3"), "steps[0].retry", "must be a map, not a number", "`retry: {max_attempts: 3}`"),
        (step("prompt: x\n    cache: maybe"), "steps[0].cache", "must be true or false", ""),
        (step("prompt: x\n    temperature: hot"), "steps[0].temperature", "must be a number", ""),
        (step("prompt: x\n    max_tokens: 1.5"), "steps[0].max_tokens", "must be a whole number, not 1.5", ""),
        (step("prompt: x\n    on_error: {fallback: b}"), "steps[0].on_error.fallback", "must be a map, not text", "instead"),
        (step("prompt: x", "openai"), "steps[0].type", "unknown step type `openai`", "`claude`"),
        (step("prompt: x", "foreach"), "steps[0].type", "unknown step type `foreach`", "`for_loop`"),
        (step("prompt: x\n    preset: prod", "claude_smart"), "steps[0].preset", "must be one of", "`production`"),
        (step("pipeline: x", "pipeline_deployer"), "steps[0].config", "`config` is missing", "add it"),
        (step("prompts: [1]", "claude_batch"), "steps[0].prompts[0]", "must be a map, not a number", ""),
        (step("input: 1\n    operations: [{filtr: a}]", "data_transform"), "steps[0].operations[0]", "unknown operation", "filter"),
        (step("value: 1\n    cases: {x: []}", "switch"), "steps[0].cases.x", "must not be empty", ""),
        (
            step("condition: x = 1\n    steps: {name: b, type: claude, prompt: x}", "while_loop"),
            "steps[0].condition",
            "'='",
            "`==`",
        ),
        (
            step("operation: read\n    path: ../x", "file_ops"),
            "steps[0].path",
            "leaves the workspace",
            "inside the run's workspace",
        ),
        (step("operation: copy\n    path: x\n    to: /etc/x", "file_ops"), "steps[0].to", "not a relative path", "workspace"),
        (step("function: agregate_metrics", "function"), "steps[0].functions", "unknown function", "`aggregate_metrics`"),
        (step("schema: {a: {type: bool}}\n    prompt: x"), "steps[0].schema.a.type", "unknown type `bool`", "`boolean`"),
    ],
)
def test_a_mistake_is_told_once_with_what_to_write(text: str, path: str, reason: str, suggestion: str) -> None:
    found = {problem.path: problem for problem in problems_of(text)}
    assert path in found
    assert reason in found[path].reason
    assert suggestion in found[path].suggestion
    assert found[path].line > 0
    assert not any("valid dictionary" in problem.reason or "valid tuple" in problem.reason for problem in found.values())


def test_options_of_a_type_with_config_are_sent_there() -> None:
    (problem,) = [each for each in problems_of(step("pipeline: x", "pipeline_deployer")) if each.path.endswith("pipeline")]
    assert problem.suggestion == "options of this type stand under `config`"


def test_arguments_of_a_function_are_checked_before_the_run() -> None:
    found = problems_of(step("function: arithmetic\n    arguments: {expr: 1 + 1}", "function"))
    assert [(each.path, each.reason) for each in found] == [
        ("steps[0].arguments", "function `arithmetic` needs the argument `expression`"),
        ("steps[0].arguments.expr", "function `arithmetic` has no argument `expr`"),
    ]
    (wrong,) = problems_of(step("function: arithmetic\n    arguments: {expression: 5}", "function"))
    assert "5 is not of type 'string'" in wrong.reason
    load_document(step('function: arithmetic\n    arguments: {expression: "{{ n }}"}', "function"))


def test_names_of_the_loop_are_not_taken_for_inputs() -> None:
    text = """
    name: p
    steps:
      - name: all
        type: for_loop
        items: [1, 2]
        steps:
          - name: one
            type: claude
            prompt: "{{ item }} {{ loop.itm }}"
    """
    found = problems_of(text)
    assert {(each.reason, each.suggestion.split("?")[0]) for each in found} == {
        ("`loop` has no field `itm` here", "did you mean `item`"),
        ("unknown name `item`", "did you mean `loop.item`"),
    }


def test_the_loop_is_not_visible_to_a_switch_outside_of_it() -> None:
    text = step('value: "{{ loop.item }}"\n    cases: {x: {name: b, type: claude, prompt: x}}', "switch")
    assert "`loop` exists only inside" in problems_of(text)[0].reason


def test_every_fault_of_a_schema_is_told() -> None:
    text = """
    name: p
    steps:
      - name: a
        type: claude_extract
        prompt: x
        schema:
          label: strin
          list: [a, {b: string}]
          deep: {n: 5}
    """
    assert told(text) == [(7, "steps[0].schema.label"), (8, "steps[0].schema.list"), (9, "steps[0].schema.deep.n")]


def test_wrong_shape_does_not_hide_wrong_references() -> None:
    text = """
    name: p
    limit: {}
    inputs: {ticket: str, other: string}
    steps:
      - {name: a, type: claude, prompt: "{{ steps.zz.result }} {{ ticket }}"}
      - {name: b, type: cluade, prompt: "{{ steps.a.result | uper }}"}
      - {name: a, type: claude, prompt: x, when: "x ="}
      - {name: c, type: claude_batch, prompt: "{{ steps.b.result }}"}
      - {name: d-e, type: claude, prompt: "{{ steps.nobody.text }}"}
    outputs: {y: "{{ steps.nope.result }}"}
    """
    assert told(text) == [
        (2, "limit"),
        (3, "inputs.ticket"),
        (5, "steps[0].prompt"),
        (6, "steps[1].type"),
        (6, "steps[1].prompt"),
        (7, "steps[2].name"),
        (7, "steps[2].when"),
        (8, "steps[3]"),
        (9, "steps[4].name"),
        (9, "steps[4].prompt"),
        (10, "outputs.y"),
    ]


@pytest.mark.parametrize(
    "wrong",
    ["type: cluade, prompt: x", "prompt: x", "type: claude, promt: x", "type: for_loop, prompt: x", "type: claude, prompt: 5"],
)
def test_references_are_judged_beside_any_mistake_of_shape(wrong: str) -> None:
    text = f"""
    name: p
    inputs: {{text: string}}
    steps:
      - {{name: a, type: claude, prompt: "{{{{ txet }}}}"}}
      - {{name: b, {wrong}, when: "steps.zz.ok"}}
    outputs: {{y: "{{{{ steps.yy.result }}}}"}}
    """
    found = {problem.path: problem for problem in problems_of(text)}
    assert "did you mean `text`" in found.pop("steps[0].prompt").suggestion
    assert "zz" in found.pop("steps[1].when").reason and "yy" in found.pop("outputs.y").reason
    assert len(found) >= 1 and all(path.startswith("steps[1]") for path in found)


def test_a_step_without_a_type_is_not_called_a_step_without_a_prompt() -> None:
    text = """
    name: p
    steps: [{name: a, type: claude, prompt: x}, {name: b, promt: "{{ steps.a.text }}"}]
    """
    assert [problem.path for problem in problems_of(text)] == ["steps[1].type"]


@pytest.mark.parametrize("name", ["txet", "etxt", "tetx"])
def test_two_swapped_letters_are_a_misspelling_in_a_short_name_too(name: str) -> None:
    text = f"""
    name: p
    inputs: {{text: string}}
    steps: [{{name: a, type: claude, prompt: "{{{{ {name} }}}}"}}]
    """
    assert problems_of(text)[0].suggestion.startswith("did you mean `text`?")
    other = load_document(dedent(text).replace(name, "test"))
    assert set(other.inputs) == {"text", "test"}


def test_mending_invents_no_problems() -> None:
    text = """
    name: p
    steps:
      - {name: a, type: set_variable, variabl: x, value: 1}
      - name: b
        type: for_loop
        itms: [1]
        steps: [{name: c, type: claude, prompt: "{{ loop.item }} {{ vars.x }}"}]
      - {name: d, type: claude_extract, prompt: "{{ steps.b.value }}", schma: {a: string}}
      - {name: e, type: claude, prompt: "{{ steps.d.a }}"}
    """
    assert {path for _, path in told(text)} <= {"steps[0].variabl", "steps[0]", "steps[1].itms", "steps[1]", "steps[2].schma"}


def test_a_key_that_stands_twice_does_not_hide_the_rest() -> None:
    text = """
    name: p
    steps: [{name: a, type: cluade, prompt: x}]
    name: q
    """
    assert told(text) == [(2, "steps[0].type"), (3, "name")]


def test_one_broken_template_does_not_hide_the_others_of_its_text() -> None:
    text = """
    name: p
    inputs: {ticket: string}
    steps:
      - name: a
        type: claude
        prompt: |
          {{ tiket }}
          {{ ticket | uper }}
          {{ ticket
    """
    assert sorted(line for line, _ in told(text)) == [7, 8, 9]


def test_a_nested_document_is_judged_at_its_own_lines() -> None:
    text = """
    name: p
    steps:
      - name: a
        type: pipeline
        pipeline:
          name: inner
          steps:
            - {name: x, type: cluade, prompt: x}
    """
    assert told(text) == [(8, "steps[0].pipeline.steps[0].type")]


MANY_MISTAKES = """
name: Ten Mistakes
domian: support
inputs:
  ticket: strin
  count: {type: integer, default: many}
limits: {seconds: -1, token: 5}
execution: paralel
steps:
  - name: classify
    type: cluade
    prompt: "Which team? {{ tiket }}"
  - name: classify
    type: claude
    promt: x
    max_tokens: "lots"
  - name: extract
    type: claude_extract
    prompt: "{{ steps.later.result }} {{ ticket | uper }}"
  - name: later
    type: claude
    prompt: |
      First line
      {{ steps.clasify.text }}
      {% if ticket %}unclosed
  - name: tools
    type: gemini_instructor
    prompt: Use it
    functions: [agregate_metrics]
    when: "{{ ticket"
  - name: loop
    type: for_loop
    items: "{{ rows }}"
    max_iterations: 0
    steps:
      - {name: inner, type: function, function: vote, arguments: {answer: 1}}
      - {type: claude, prompt: "{{ loop.itm }}"}
  - name: nest
    type: pipeline
    pipeline: {name: child, steps: [{name: a, type: claude, prompt: "{{ steps.b.text }}"}]}
  - just text
outputs: {a: "{{ steps.nothing.value }}", b: "{{ }}"}
extra: 1
"""


def test_one_document_with_mistakes_of_every_kind_is_told_all_of_them_at_once_and_nothing_else() -> None:
    assert told(MANY_MISTAKES) == [
        (1, "name"),
        (2, "domian"),
        (4, "inputs.ticket"),
        (5, "inputs.count.default"),
        (6, "limits.seconds"),
        (6, "limits.token"),
        (7, "execution"),
        (10, "steps[0].type"),
        (11, "steps[0].prompt"),
        (12, "steps[1].name"),
        (14, "steps[1].promt"),
        (15, "steps[1].max_tokens"),
        (16, "steps[2].schema"),
        (18, "steps[2].prompt"),
        (18, "steps[2].prompt"),
        (23, "steps[3].prompt"),
        (24, "steps[3].prompt"),
        (28, "steps[4].functions"),
        (29, "steps[4].when"),
        (33, "steps[5].max_iterations"),
        (35, "steps[5].steps[0].arguments"),
        (35, "steps[5].steps[0].arguments.answer"),
        (36, "steps[5].steps[1].name"),
        (36, "steps[5].steps[1].prompt"),
        (39, "steps[6].pipeline.steps[0].prompt"),
        (40, "steps[7]"),
        (41, "outputs.a"),
        (41, "outputs.b"),
        (42, "extra"),
    ]


def test_what_stood_in_for_broken_parts_is_never_named() -> None:
    problems = problems_of(MANY_MISTAKES)
    assert not any("stand_in" in str(problem) for problem in problems)
    assert next(each for each in problems if each.path == "outputs.a").suggestion == (
        "known: classify, extract, inner, later, loop, nest, tools"
    )


def test_a_step_without_a_name_is_checked_like_any_other() -> None:
    text = "name: p\nsteps:\n  - {type: claude_extract, prompt: '{{ steps.b.text }}'}\n"
    assert [problem.reason for problem in problems_of(text)] == [
        "`name` is missing",
        "step type `claude_extract` needs a schema",
        "unknown step `b`",
    ]
