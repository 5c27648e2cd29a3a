"""Generated pipeline documents: every step type, every shape, any text."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from typing import Any

from hypothesis import strategies as st

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


JMESPATH = st.sampled_from(["a", "a.b[0]", "[?a > `1`].b", "@", "{x: a, y: b}"])
INNER = st.sampled_from(
    [
        {"type": "claude", "prompt": "Say {{ n }}"},
        {"type": "set_variable", "variable": "x", "value": {"deep": ["{{ n }}", 1.5, None]}},
        {"type": "switch", "value": "{{ n }}", "cases": {"1": {"type": "claude", "prompt": "One"}}},
    ]
)
OPERATION = st.one_of(
    st.builds(lambda expression: {"filter": expression}, JMESPATH),
    st.builds(lambda expression, down: {"op": "sort", "by": [expression], "descending": down}, JMESPATH, st.booleans()),
    st.builds(lambda expression: {"join": {"with": "{{ ticket }}", "on": expression, "how": "left"}}, JMESPATH),
    st.builds(
        lambda name, of: {"aggregate": {"by": "a", "measures": {name: {"function": "sum", "of": of}}}},
        st.text("abc_", min_size=1),
        JMESPATH,
    ),
    st.builds(lambda count: {"limit": count}, st.integers(0, 99)),
)
TASK = st.one_of(PROMPT, st.builds(lambda prompt, tokens: {"prompt": prompt, "max_tokens": tokens}, PROMPT, st.integers(1, 99)))
FUNCTIONS = st.sampled_from(
    [["vote"], {"vote": {"description": "Count"}}, [{"name": "vote", "parameters": {"tie": ["first", "last"]}}]]
)
NESTED = {"name": "inner", "steps": [{"name": "a", "type": "claude", "prompt": "Use {{ own_name }}"}]}
REFERENCE = st.sampled_from(["triage", "triage@stable", "triage@" + "a" * 12])
NUMBER = st.integers(1, 50)


def asking(**options: st.SearchStrategy[Any]) -> st.SearchStrategy[dict[str, Any]]:
    return st.builds(lambda prompt, common, own: {"prompt": prompt, **common, **own}, PROMPT, COMMON, optional(**options))


def working(own: st.SearchStrategy[dict[str, Any]]) -> st.SearchStrategy[dict[str, Any]]:
    common = optional(when=st.just("n == 3"), timeout_seconds=st.integers(1, 9), on_error=st.sampled_from(["fail", "continue"]))
    return st.builds(lambda shared, keys: {**shared, **keys}, common, own)


def keyed(**keys: st.SearchStrategy[Any]) -> st.SearchStrategy[dict[str, Any]]:
    return st.fixed_dictionaries(keys)


CONFIG = optional(
    max_parallel=NUMBER, max_cases=NUMBER, graders=st.sampled_from(["exact", [{"kind": "numeric", "options": {"tolerance": 0.5}}]])
)
KINDS: dict[str, st.SearchStrategy[dict[str, Any]]] = {
    "claude": asking(functions=FUNCTIONS, max_turns=st.integers(1, 20)),
    "gemini": asking(tools=FUNCTIONS, tool_choice=st.sampled_from(["auto", "any"])),
    "claude_smart": asking(preset=st.sampled_from(["test", "chat"]), max_cost_usd=st.floats(0, 9), models=st.just({"fast": "m"})),
    "claude_extract": asking(max_reasks=st.integers(0, 5)).map(lambda keys: {"schema": {"label": "string"}, **keys}),
    "claude_session": asking(session=st.sampled_from(["talk", "chat-{{ n }}"]), keep_messages=st.integers(2, 9)),
    "claude_robust": asking(fallbacks=st.just(["cache", "model"]), fallback_models=st.just(["m-1"]), simplified_prompt=PROMPT),
    "gemini_instructor": asking(functions=FUNCTIONS, max_turns=st.integers(1, 20)),
    "claude_batch": working(keyed(prompts=st.lists(TASK, min_size=1, max_size=3), max_parallel=NUMBER)),
    "parallel_claude": working(keyed(tasks=st.dictionaries(st.text("abc", min_size=1), TASK, min_size=1, max_size=3))),
    "parallel_pipeline_executor": working(
        st.builds(lambda more: {"config": {"pipelines": ["triage", NESTED], "test_data": "{{ ticket }}", **more}}, CONFIG)
    ),
    "pipeline_deployer": working(
        st.builds(lambda wait, reason: {"config": {"pipeline": NESTED, "wait": wait, "reason": reason}}, st.floats(0, 60), SAFE)
    ),
    "pipeline": working(
        keyed(pipeline=REFERENCE | st.just(NESTED), inputs=st.dictionaries(st.sampled_from("ab"), VALUE, max_size=2))
    ),
    "for_loop": working(keyed(items=st.lists(VALUE, max_size=3), steps=INNER, max_parallel=NUMBER)),
    "while_loop": working(keyed(condition=st.sampled_from(["n > 1", "loop.index < 3"]), steps=INNER, max_iterations=NUMBER)),
    "switch": working(
        keyed(value=st.just("{{ n }}"), cases=st.dictionaries(TRICKY.filter(str.strip), INNER, min_size=1, max_size=2))
    ),
    "set_variable": working(keyed(variable=st.just("x"), value=VALUE) | keyed(variables=st.just({"x": 1, "y": "{{ n }}"}))),
    "data_transform": working(keyed(input=st.just("{{ ticket }}"), operations=st.lists(OPERATION, min_size=1, max_size=3))),
    "function": working(keyed(function=st.just("vote"), constants=st.builds(lambda each: {"values": [each]}, VALUE))),
    "file_ops": working(
        keyed(operation=st.just("write"), path=st.sampled_from(["a/b.txt", "{{ n }}.txt"]), content=VALUE.filter(bool))
    ),
}


def named(value: Any, names: Iterator[int]) -> Any:
    """Inner steps get names of their own."""
    if isinstance(value, dict):
        inner = {key: named(member, names) for key, member in value.items()}
        return {"name": f"i{next(names)}", **inner} if "type" in inner and inner["type"] in KINDS and "name" not in inner else inner
    return [named(member, names) for member in value] if isinstance(value, list) else value


@st.composite
def documents(draw: st.DrawFn) -> dict[str, Any]:
    steps = []
    names = itertools.count()
    for index in range(draw(st.integers(1, 4))):
        kind = draw(st.sampled_from(sorted(KINDS)))
        keys = draw(KINDS[kind])
        step = {"name": f"s{index}", "type": kind, **{key: named(keys[key], names) for key in sorted(keys)}}
        if kind == "switch":
            step["cases"] = {
                label: {**each, "name": f"c{index}_{number}"} for number, (label, each) in enumerate(step["cases"].items())
            }
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
