"""Templates: native values, strict names, data never expanded again, everything bounded."""

from __future__ import annotations

import time
from typing import Any

import pytest

from shared.pipeline.step import StepResult
from shared.pipeline.template_names import template_facts, template_names
from shared.pipeline.templates import TemplateRenderError, UndefinedNameError, evaluate_condition, render

NAMES: dict[str, Any] = {
    "n": 5,
    "result": "shadow",
    "text": "hello",
    "record": {"items": [1, 2], "label": "b", "keys": "k"},
    "steps": {
        "plain": StepResult(value="yes", text="yes"),
        "object": StepResult(value={"winner": "b", "text": "field"}, text="raw"),
        "many": StepResult(value=[{"value": 1, "status": "ok", "usage": {}}, {"value": 2, "status": "ok", "usage": {}}]),
        "empty": StepResult(status="skipped"),
    },
    "vars": {},
    "loop": {"item": {"id": 7}, "index": 0},
}


@pytest.mark.parametrize(
    ("template", "value"),
    [
        ("{{ n }}", 5),
        ("  {{ n }}\n", 5),
        ("{{ record }}", {"items": [1, 2], "label": "b", "keys": "k"}),
        ("{{ record['items'] | map('string') }}", ["1", "2"]),
        ("{{ record.items }}", [1, 2]),
        ("{{ record.keys }}", "k"),
        ("{{ result }}", "shadow"),
        ("{{ n > 3 }}", True),
        ("{{ none }}", None),
        ("n={{ n }}", "n=5"),
        ("{{ n }}{{ n }}", "55"),
        ("got {{ record }}", 'got {"items": [1, 2], "label": "b", "keys": "k"}'),
        ("{{ true }} {{ none }} {{ 1.5 }}", "true null 1.5"),
        ("{{ text ~ n ~ record['items'] }}", "hello5[1, 2]"),
        ("{{ steps.plain.result }}", "yes"),
        ("{{ steps.plain.value }}", "yes"),
        ("{{ steps.object.winner }}", "b"),
        ("{{ steps.object.text }}", "raw"),
        ("{{ steps.object.result.text }}", "field"),
        ("{{ steps.many.results | length }}", 2),
        ("{{ steps.many.results[1].value }}", 2),
        ("all: {{ steps.many.results }}", "all: [1, 2]"),
        ("{{ steps.empty.status }}", "skipped"),
        ("{{ steps.plain.usage.input_tokens }}", 0),
        ("{% for i in record['items'] %}{{ loop.index }}:{{ i }} {% endfor %}", "1:1 2:2 "),
        ("{{ loop.item.id }}", 7),
        ("{{ text.upper() }}", "HELLO"),
        ("{{ missing | default('none') }}", "none"),
        ("plain text", "plain text"),
        ({"a": ["{{ n }}", 3], "{{ n }}": None}, {"a": [5, 3], "{{ n }}": None}),
    ],
)
def test_a_template_gives_its_value(template: Any, value: Any) -> None:
    rendered = render(template, NAMES)
    assert rendered == value
    assert type(rendered) is type(value)


@pytest.mark.parametrize(
    "template",
    [
        "{{ nobody }}",
        "x {{ nobody }}",
        "{{ record.nobody }}",
        "{{ steps.nobody.result }}",
        "{{ steps.plain.winner }}",
        "{{ steps.empty.winner }}",
        "{{ [n, nobody] }}",
        "{{ record['items'][9] }}",
        "{% for x in nobody %}{% endfor %}",
        "{% if nobody %}x{% endif %}",
        {"a": ["{{ nobody }}"]},
    ],
)
def test_a_name_that_does_not_exist_is_an_error_never_empty_text(template: Any) -> None:
    with pytest.raises(UndefinedNameError):
        render(template, NAMES)


@pytest.mark.parametrize(
    "template",
    [
        "{{ 'a' * 1000000000 }}",
        "{{ [0] * 1000000000 }}",
        "{{ '%1000000000d' % 1 }}",
        "{{ '{:1000000000}'.format(1) }}",
        "{{ 9 ** 9 ** 9 }}",
        "{% for a in range(99999) %}{% for b in range(99999) %}{% endfor %}{% endfor %}",
        "{% for a in range(10**12) %}{% endfor %}",
        "{{ range(1000000000) | list }}",
        "{{ long ~ long ~ long ~ long ~ long }}",
        "{{ long | replace('a', long) }}",
        "{{ [long, long, long] | join(long) }}",
        "{% for a in range(99) %}{{ long }}{% endfor %}",
        "{{" + "(" * 3000 + "1" + ")" * 3000 + "}}",
        "{{" + "[" * 3000 + "]" * 3000 + "}}",
        "{{ x." * 3000,
        "a" * 300_000 + "{{ n }}",
        "{% macro f() %}{{ f() }}{% endmacro %}{{ f() }}",
        "{% for x in [[1]] recursive %}{{ loop(x) }}{% endfor %}",
        "{{ 'x' | center(1000000000) }}",
        "{{ 'x'.ljust(1000000000) }}",
        "{{ 2 ** 10 ** 9 }}",
        "{{ " + "n * " * 190 + "1e90 * 1e90 }}",
        "{{ 1.5 | round(99999999, 'ceil') }}",
        "{{ 1 / 1e-300 / 1e-300 }}",
        "{{ " + "9" * 5000 + " }}",
        "{% for a in [1] %}" * 25 + "{% endfor %}" * 25,
        "{% if 0 %}" + "{% elif 0 %}x" * 500 + "{% endif %}",
        "{% if 0 %}" + "{% elif 0 %}x" * 10_000 + "{% endif %}",
        "{{ (" + "1," * 60_000 + ") }}",
        "{{ 'x'" + " | tojson" * 40 + " }}",
        "{{ [[long]]" + " | tojson | list" * 20 + " }}",
        "{{ [" + "range(100000) | list, " * 1000 + "] | length }}",
    ],
)
def test_templates_that_allocate_or_loop_without_bound_are_refused_at_once(template: str) -> None:
    started = time.monotonic()
    with pytest.raises(TemplateRenderError):
        render(template, {**NAMES, "long": "a" * 1_000_000})
    assert time.monotonic() - started < 5


@pytest.mark.parametrize(
    "template",
    [
        "{% for a in range(99999) %}{{ a in rows }}{% endfor %}",
        "{% for a in range(99999) if a in rows %}{% endfor %}",
        "{% for a in range(99999) %}{{ rows == copy }}{% endfor %}",
        "{% for a in range(99999) %}{{ rows | sort | length }}{% endfor %}",
        "{% for a in range(99999) %}{{ rows | tojson | length }}{% endfor %}",
        "{% for a in range(99999) %}{{ rows[1:] | length }}{% endfor %}",
        "{% for a in range(99999) %}{{ (rows + rows) | length }}{% endfor %}",
        "{% for a in range(99999) %}{{ rows.count(a) }}{% endfor %}",
        "{% for a in range(99999) %}{{ long.upper() | length }}{% endfor %}",
        "{% for a in range(99999) %}{{ long | replace('b', 'c') | length }}{% endfor %}",
        "{% for a in range(99999) %}{{ (long ~ a) | length }}{% endfor %}",
        "{% for a in range(99999) %}{{ range(99999) | list | length }}{% endfor %}",
        "{{ range(99999) | select('in', rows) | list }}",
        "{{ many | sum(start=[]) | length }}",
    ],
)
def test_bounded_operations_put_together_are_bounded_too(template: str) -> None:
    """Each of them alone is small, so what counts is the work of the whole rendering."""
    rows = list(range(20_000))
    names = {"rows": rows, "copy": rows[:], "long": "a" * 1_000_000, "many": [[0] * 1000] * 3000}
    with pytest.raises(TemplateRenderError, match="does too much"):
        render(template, names)


def test_work_of_a_usual_size_is_done() -> None:
    rows = [{"id": number, "label": f"label {number % 7}", "text": "some words " * 10} for number in range(5000)]
    template = "{% for row in rows if row.label != 'label 3' %}{{ row.id }}: {{ row.text | upper | trim }}\n{% endfor %}"
    assert len(render(template, {"rows": rows}).splitlines()) == 4286
    assert render("{{ rows | map(attribute='label') | unique | sort | join(', ') }}", {"rows": rows}).count(",") == 6
    assert render("{{ rows | map(attribute='id') | sum }}", {"rows": rows}) == 12_497_500
    assert render("{{ [[1], [2, 3]] | sum(start=[]) }}", {}) == [1, 2, 3]
    assert render("{{ rows[-1].id - rows[1:3] | length }}", {"rows": rows}) == 4997


@pytest.mark.parametrize(
    "template", ["{{ 'nan' | float }}", "{{ '[NaN]' | from_json }}", "{{ '1e999' | from_json }}", "{{ x }}", "a {{ y }}"]
)
def test_no_template_gives_a_number_that_is_not_finite_or_text_that_is_not_unicode(template: str) -> None:
    with pytest.raises(TemplateRenderError):
        render(template, {"x": float("inf"), "y": "\ud800"})


@pytest.mark.parametrize(
    "template",
    [
        "{{ n.__class__ }}",
        "{{ text.__class__.__mro__ }}",
        "{{ text['__class__'] }}",
        "{{ [1] | map(attribute='__class__') | list }}",
        "{{ record.__init__.__globals__ }}",
        "{{ ''.join.__self__ }}",
        "{{ text.format_map(record) }}",
        "{{ self._TemplateReference__context }}",
        "{{ cycler }}",
        "{{ lipsum() }}",
        "{% include 'x' %}",
        "{% import 'os' as os %}",
        "{% set x = 1 %}",
        "{{ text.upper }}",
        "{{ steps.plain.usage.model_dump() }}",
        "{{ text | attr('upper') }}",
    ],
)
def test_templates_do_not_reach_python(template: str) -> None:
    with pytest.raises(TemplateRenderError):
        render(template, NAMES)


@pytest.mark.parametrize("data", ["{{ n }}", "{% for x in y %}", "{# c #}", "}}", "{{ steps.plain.result }}"])
def test_what_a_template_inserts_is_never_expanded_again(data: str) -> None:
    assert render("{{ data }}", {"data": data}) == data
    assert render("<{{ data }}>", {"data": data}) == f"<{data}>"
    assert render({"a": "{{ data }}"}, {"data": data}) == {"a": data}


@pytest.mark.parametrize(
    ("condition", "truth"),
    [
        ("n > 3", True),
        ("{{ n > 3 }}", True),
        ("steps.plain.result == 'yes' and not steps.object.warnings", True),
        ("steps.empty.status == 'ok'", False),
        ("'false'", False),
        ("'False '", False),
        ("'anything'", True),
        ("[]", False),
        ("none", False),
        ("missing is defined", False),
    ],
)
def test_conditions(condition: str, truth: bool) -> None:
    assert evaluate_condition(condition, NAMES) is truth


@pytest.mark.parametrize("condition", ["nobody", "steps.nobody.result == 1", "{% if n %}true{% endif %}", "n >", "1 / 0 > 1"])
def test_a_condition_that_cannot_be_judged_is_an_error_not_false(condition: str) -> None:
    with pytest.raises(TemplateRenderError):
        evaluate_condition(condition, NAMES)


@pytest.mark.parametrize("template", ["{{ 'abc' | int }}", "{{ none | float }}", "{{ 'nan1' | from_json }}", "{{ 1 / 0 }}"])
def test_a_value_that_does_not_convert_is_an_error_not_zero(template: str) -> None:
    with pytest.raises(TemplateRenderError):
        render(template, NAMES)


def test_names_are_found_wherever_they_stand() -> None:
    template = {"a": ["{{ x.y['z'][0] | default(w) }}", "{% if p is defined %}{{ q.upper().strip(r) }}{% endif %}"], "b": 3}
    assert template_names(template) == {"x.y.z.0", "w", "p", "q", "r"}


def test_names_of_a_templates_own_loop_are_not_references() -> None:
    template = "{% for s in steps.a.results if s.ok %}{{ s.text }}{{ loop.index }}{% else %}{{ loop.item }}{% endfor %}"
    assert template_names(template) == {"steps.a.results", "loop.item"}


def test_unknown_filters_and_tests_are_named_with_the_nearest_known_one() -> None:
    facts = template_facts("{{ a | uper }}{{ b is defind }}{{ c | map('lowr') }}{{ d | selectattr('x', 'eqq', 1) }}")
    assert [suggestion for _, _, suggestion in facts.faults] == [
        f"did you mean `{name}`?" for name in ("upper", "defined", "lower", "eq")
    ]
