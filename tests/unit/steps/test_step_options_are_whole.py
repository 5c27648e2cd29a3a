"""Every option of every step type does something: a new one without a case, or without an effect, fails here."""

from __future__ import annotations

import copy
import json
import typing
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from shared.errors import EvolineError
from shared.pipeline.document import Step
from shared.pipeline.steps import step_type, type_names
from shared.pipeline.steps.base import Options
from tests.fakes.step_context import ScriptedStepContext, run_step
from tests.fakes.step_options import OPTIONS, Pair


def options_of(model: Any, prefix: str = "") -> Iterator[str]:
    """Dotted names of all options, those inside lists and maps included; inner steps have options of their own."""
    for name, found in model.model_fields.items():
        path = prefix + (found.alias or name)
        is_discriminator = name == "op"
        if not is_discriminator:
            yield path
        for inner in option_models(found.annotation):
            operation = typing.get_args(inner.model_fields["op"].annotation)[0] if "op" in inner.model_fields else ""
            yield from options_of(inner, f"{path}.{operation}." if operation else f"{path}.")


def option_models(annotation: Any) -> Iterator[Any]:
    if isinstance(annotation, type) and not typing.get_args(annotation):
        if issubclass(annotation, Options):
            yield annotation
        return
    for inner in typing.get_args(annotation):
        yield from option_models(inner)


def test_every_option_of_every_step_type_has_a_case() -> None:
    wanted = {name: set(options_of(step_type(name).options)) for name in type_names()}
    assert {name: set(cases) for name, cases in OPTIONS.items()} == wanted


PAIRS = [pytest.param(name, path, id=f"{name}-{path}") for name, cases in OPTIONS.items() for path in cases]


@pytest.mark.parametrize(("kind", "path"), PAIRS)
async def test_two_values_of_an_option_make_two_behaviours(kind: str, path: str, tmp_path: Path) -> None:
    pair = OPTIONS[kind][path]
    assert changed(kind, pair) == {path.split(".")[0]}, "the two steps must differ in this option alone"
    traces = [await trace(kind, keys, pair, tmp_path / name) for name, keys in (("one", pair.one), ("other", pair.other))]
    assert traces[0] != traces[1], "the option has no effect"
    again = await trace(kind, pair.one, pair, tmp_path / "again")
    assert again == traces[0], "the difference must come from the option, not from chance"


def changed(kind: str, pair: Pair) -> set[str]:
    """Options in which the two steps differ."""
    one, other = (Step.model_validate({"name": "s", "type": kind, **keys}).flat() for keys in (pair.one, pair.other))
    return {key for key in {*one, *other} if one.get(key) != other.get(key)}


async def trace(kind: str, keys: Any, pair: Pair, folder: Path) -> str:
    """All that a step is seen to do: what it asks, calls, starts, stores, and how it ends."""
    context = prepared(pair, folder)
    try:
        end: Any = (await run_step(context, type=kind, **copy.deepcopy(dict(keys)))).model_dump(mode="json")
    except EvolineError as error:
        end = [type(error).__name__, str(error)]
    seen = {
        "end": end,
        "requests": [request.model_dump(mode="json") for request in context.requests],
        "at_once": [context.load.most_at_once, context.max_parallel_children],
        "calls": context.function_calls,
        "children": [child.model_dump(mode="json") for child in context.children],
        "batches": [[len(requests), poll_seconds] for requests, poll_seconds in context.batches],
        "proposals": context.proposals,
        "sessions": {name: session.model_dump(mode="json") for name, session in context.sessions.items()},
        "variables": context.variables,
        "positions": context.positions,
        "files": content_of(folder),
    }
    return json.dumps(seen, sort_keys=True, default=str).replace(str(folder), "")


def prepared(pair: Pair, folder: Path) -> ScriptedStepContext:
    folder.mkdir()
    (folder / "a").write_text('{"n": 1}')
    (folder / "b").write_text("text")
    context = ScriptedStepContext(*pair.replies, names=pair.names, workspace=folder)
    for name, value in copy.deepcopy(dict(pair.prepared)).items():
        setattr(context, name, value)
    return context


def content_of(folder: Path) -> dict[str, str]:
    return {path.name: path.read_text() for path in folder.rglob("*") if path.is_file()}
