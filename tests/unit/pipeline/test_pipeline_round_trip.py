"""Document -> YAML -> document keeps the digest; comments and key order do not change it; content does."""

from __future__ import annotations

import random
from typing import Any

import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from shared.pipeline.loading import dump_yaml, load_document

TEXT = st.text(alphabet=st.characters(exclude_categories=["Cs"]), max_size=40)
"""Any text but template marks, which would be syntax."""
SAFE = TEXT.filter(lambda text: "{{" not in text and "{%" not in text and "{#" not in text)
PROMPT = st.one_of(
    SAFE.map(lambda text: text + " x"), st.just("Use {{ ticket }} and\n  {{ n | default(3) }}\n"), st.just("a: b\n# c\n- d ")
)
SCALAR = st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.floats(allow_nan=False, allow_infinity=False) | SAFE
VALUE = st.recursive(SCALAR, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(SAFE, inner, max_size=3), max_leaves=8)
TRICKY = st.sampled_from(
    ["on", "yes", "null", "~", "1e3", "0o17", "0x1F", "1_0", "12:30", "2026-11-22", "<<", "=", "-", "!x", "&a", "*a", ".5", ""]
)


def optional(**keys: st.SearchStrategy[Any]) -> st.SearchStrategy[dict[str, Any]]:
    return st.fixed_dictionaries({}, optional=keys)


RETRY = optional(max_attempts=st.integers(1, 9), max_seconds=st.floats(1, 60), on=st.just(["timeout", "overload"]))
COMMON = optional(
    when=st.sampled_from(["n == 3", "{{ ticket }}", "true"]),
    timeout_seconds=st.floats(0.5, 100) | st.integers(1, 100),
    retry=RETRY,
    on_error=st.sampled_from(["fail", "continue", {"fallback": {"type": "gemini", "prompt": "other"}}]),
    schema=st.sampled_from([["a", "b"], {"label": "string", "n": {"x": "integer"}}, [{"a": "any"}], {"type": "array"}, "string"]),
    cache=st.booleans(),
    context=st.sampled_from(["auto", "none"]),
    model=SAFE,
    temperature=st.floats(0, 2),
    max_tokens=st.integers(1, 5000),
    system=SAFE,
)


@st.composite
def documents(draw: st.DrawFn) -> dict[str, Any]:
    steps = []
    for index in range(draw(st.integers(1, 4))):
        kind = draw(st.sampled_from(["claude", "gemini", "claude_extract", "claude_smart"]))
        step = {"name": f"s{index}", "type": kind, "prompt": draw(PROMPT), **draw(COMMON)}
        if kind == "claude_extract":
            step.setdefault("schema", {"label": "string"})
        if isinstance(step.get("on_error"), dict):
            step["on_error"] = {"fallback": {**step["on_error"]["fallback"], "name": f"f{index}"}}
        if index and draw(st.booleans()):
            step["after"] = [f"s{index - 1}"]
        steps.append(step)
    extra = optional(
        description=SAFE,
        domain=st.sampled_from(["support", "general"]),
        inputs=st.just({"ticket": "string", "n": {"type": "integer", "default": 3}}),
        execution=st.sampled_from(["sequential", "dataflow"]),
        limits=optional(seconds=st.floats(1, 900), calls=st.integers(1, 50)),
        defaults=optional(max_tokens=st.integers(1, 900), retry=RETRY),
        outputs=st.dictionaries(SAFE | TRICKY, VALUE | TRICKY | st.just("{{ steps.s0.text }}"), max_size=3),
    )
    return {"name": "p", "steps": steps, **draw(extra)}


@settings(max_examples=150, deadline=None)
@given(documents())
def test_a_document_survives_yaml_and_its_canonical_form_with_its_digest(source: dict[str, Any]) -> None:
    document = load_document(source)
    assert load_document(dump_yaml(document)) == document
    assert load_document(document.canonical()).digest == document.digest
    assert load_document(document.canonical()).canonical() == document.canonical()


@settings(max_examples=60, deadline=None)
@given(documents(), st.integers())
def test_key_order_and_comments_do_not_change_a_digest(source: dict[str, Any], seed: int) -> None:
    document = load_document(source)
    text = dump_yaml(load_document(shuffled(source, random.Random(seed))))
    commented = f"# first\n---\n{text}\n# last\n"
    assert load_document(commented).digest == document.digest
    assert load_document({"workflow": source}).digest == document.digest


@settings(max_examples=60, deadline=None)
@given(documents())
def test_a_changed_prompt_changes_the_digest(source: dict[str, Any]) -> None:
    changed = {**source, "steps": [{**source["steps"][0], "prompt": source["steps"][0]["prompt"] + "!"}, *source["steps"][1:]]}
    assert load_document(changed).digest != load_document(source).digest


@settings(max_examples=60, deadline=None)
@given(documents())
def test_other_yaml_readers_read_the_same_document(source: dict[str, Any]) -> None:
    document = load_document(source)
    assert yaml.safe_load(dump_yaml(document)) == document.canonical()


def shuffled(value: Any, chance: random.Random) -> Any:
    if isinstance(value, dict):
        items = list(value.items())
        chance.shuffle(items)
        return {key: shuffled(member, chance) for key, member in items}
    return [shuffled(member, chance) for member in value] if isinstance(value, list) else value
