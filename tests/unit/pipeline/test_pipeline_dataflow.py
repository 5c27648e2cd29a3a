from __future__ import annotations

from typing import Any

from shared.pipeline.dataflow import AutoContext, auto_context, dependencies, find_cycle
from shared.pipeline.document import Document
from shared.pipeline.loading import load_document


def loaded(*steps: dict[str, Any], **keys: Any) -> Document:
    full = [{"type": "claude", "context": "none", "prompt": "hi", **step} for step in steps]
    return load_document({"name": "p", "execution": "dataflow", "steps": full, **keys})


def test_references_and_after_are_edges_and_nothing_else_is() -> None:
    document = loaded(
        {"name": "a"},
        {"name": "b", "prompt": "{{ steps.a.result }}"},
        {"name": "c", "after": "a"},
        {"name": "d", "when": "steps.b.status == 'ok'", "system": "{{ steps.c.text }}"},
        {"name": "e"},
    )
    assert dependencies(document) == {"a": set(), "b": {"a"}, "c": {"a"}, "d": {"b", "c"}, "e": set()}


def test_the_automatic_context_is_an_edge() -> None:
    document = loaded({"name": "a"}, {"name": "b", "context": "auto"})
    assert dependencies(document)["b"] == {"a"}


def test_what_steps_inside_a_loop_refer_to_is_an_edge_of_the_loop() -> None:
    inner = {"name": "one", "type": "claude", "prompt": "{{ loop.item }} {{ steps.a.result }}"}
    loop = {"name": "all", "type": "for_loop", "items": "{{ steps.b.result }}", "steps": [inner], "prompt": None}
    document = loaded(
        {"name": "a"}, {"name": "b"}, {key: value for key, value in loop.items() if value is not None} | {"context": "auto"}
    )
    assert dependencies(document)["all"] == {"a", "b"}


def test_what_a_fallback_refers_to_is_an_edge_of_its_step() -> None:
    fallback = {"type": "gemini", "prompt": "{{ steps.a.result }}"}
    document = loaded({"name": "a"}, {"name": "b", "on_error": {"fallback": fallback}})
    assert dependencies(document)["b"] == {"a"}


def test_a_fallback_that_refers_to_nothing_gets_the_context_of_its_step() -> None:
    fallback = {"name": "f", "type": "gemini", "prompt": "hi"}
    document = loaded({"name": "a"}, {"name": "b", "on_error": {"fallback": fallback}})
    step = document.steps[1].on_error
    assert not isinstance(step, str)
    assert auto_context(document, step.fallback) == AutoContext("a", ())


def test_unused_inputs_are_context_and_used_ones_are_not() -> None:
    document = loaded(
        {"name": "a", "prompt": "{{ used }}"},
        {"name": "b", "context": "auto"},
        inputs={"used": "any", "unused": "any", "shown": "any"},
        outputs={"x": "{{ shown }}"},
    )
    assert auto_context(document, document.steps[1]) == AutoContext("a", ("unused",))
    assert not auto_context(document, document.steps[0])


def test_the_first_step_gets_the_inputs_alone() -> None:
    document = loaded({"name": "a", "context": "auto"}, inputs={"ticket": "string"})
    assert auto_context(document, document.steps[0]) == AutoContext(None, ("ticket",))


def test_cycles_are_found_and_diamonds_are_none() -> None:
    assert find_cycle({"a": {"b", "c"}, "b": {"d"}, "c": {"d"}, "d": set()}) == ()
    cycle = find_cycle({"a": {"b"}, "b": {"c"}, "c": {"b"}})
    assert cycle[0] == cycle[-1]
    assert set(cycle) == {"b", "c"}
