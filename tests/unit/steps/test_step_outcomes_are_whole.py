"""Every way in which a step type can end is brought about: an error, a degraded end or a bound in its code without a case fails."""

from __future__ import annotations

import ast
import asyncio
import inspect
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from shared.errors import EvolineError, LimitReachedError, OutOfScopeError
from shared.pipeline.steps import step_type, type_names
from tests.fakes.step_context import ScriptedStepContext, run_step
from tests.fakes.step_outcomes import OUTCOMES, Outcome

PACKAGE = "shared.pipeline.steps."
HARMLESS = {"Tally", "Answer", "schema_problems"}
"""Counting and comparing raise nothing, though they stand beside what does."""
CAUGHT = {
    "claude_batch": {"ProviderError", "ProviderRefusedError"},
    "parallel_claude": {"ProviderError", "ProviderRefusedError", "InvalidInputError", "StepLimitError"},
}
"""Errors of single tasks, which are members of the answer; and prompts as a template, which only a batch has."""
PACKED = {"BreakerOpenError": "ProviderError"}


def modules_of(kind: str) -> Iterator[Any]:
    """The step type's own module and those of the package that it is made with."""
    pending, seen = [type(step_type(kind)).__module__], set[str]()
    while pending:
        name = pending.pop()
        if name in seen:
            continue
        seen.add(name)
        module = sys.modules[name]
        yield module
        imports = [node for node in ast.walk(ast.parse(inspect.getsource(module))) if isinstance(node, ast.ImportFrom)]
        used = [node for node in imports if not {name.name for name in node.names} <= HARMLESS]
        pending += [node.module for node in used if node.module and node.module.startswith(PACKAGE)]
        if "workspace" in inspect.getsource(module) and kind == "file_ops":
            pending.append(f"{PACKAGE}workspace")


def raised_by(kind: str) -> set[str]:
    """Classes of the project's errors that the code raises."""
    found = set()
    for module in modules_of(kind):
        for node in ast.walk(ast.parse(inspect.getsource(module))):
            if isinstance(node, ast.Raise) and isinstance(node.exc, ast.Call) and isinstance(node.exc.func, ast.Name):
                name = PACKED.get(node.exc.func.id, node.exc.func.id)
                if isinstance(getattr(module, name, None), type) and issubclass(getattr(module, name), EvolineError):
                    found.add(name)
    return found


def may_be_degraded(kind: str) -> bool:
    return any('"degraded"' in inspect.getsource(module) for module in modules_of(kind))


def ends(kind: str) -> set[str]:
    return {outcome.end.partition(":")[0] for outcome in OUTCOMES[kind]}


@pytest.mark.parametrize("kind", type_names())
def test_every_error_and_every_degraded_end_of_a_step_type_has_a_case(kind: str) -> None:
    assert "ok" in ends(kind)
    assert raised_by(kind) - CAUGHT.get(kind, set()) <= ends(kind), "bring these about, or list them as caught"
    assert not may_be_degraded(kind) or "degraded" in ends(kind)


def test_no_case_is_of_an_unknown_step_type() -> None:
    assert set(OUTCOMES) == set(type_names())


ALL = [
    pytest.param(kind, outcome, id=f"{kind}-{number}-{outcome.end}")
    for kind, outcomes in OUTCOMES.items()
    for number, outcome in enumerate(outcomes)
]


@pytest.mark.parametrize(("kind", "outcome"), ALL)
async def test_a_step_ends_as_it_should(kind: str, outcome: Outcome, tmp_path: Path) -> None:
    (tmp_path / "a").write_text('{"n": 1}')
    (tmp_path / "b").write_text("text")
    context = ScriptedStepContext(*outcome.replies, names=outcome.names, workspace=tmp_path)
    if outcome.prepare is not None:
        outcome.prepare(context)
    wanted, _, said = outcome.end.partition(": ")
    try:
        result = await run_step(context, type=kind, **outcome.keys)
    except EvolineError as error:
        assert type(error).__name__ in (wanted, *(name for name, packed in PACKED.items() if packed == wanted))
        assert said in str(error)
        return
    assert result.status == wanted
    assert said in result.error
    assert bool(result.error) == (wanted == "failed"), "a failure says why, and nothing else has an error"
    assert wanted != "degraded" or result.warnings or kind in WITHOUT_WARNING


WITHOUT_WARNING = ("switch",)
"""Its inner steps say what was wrong."""
ASKING = [kind for kind in type_names() if step_type(kind).families]


@pytest.mark.parametrize("kind", ASKING)
@pytest.mark.parametrize("error", [LimitReachedError("calls", "used up"), OutOfScopeError("not allowed")])
async def test_a_limit_of_the_run_is_never_answered_retried_or_fallen_back_from(kind: str, error: EvolineError) -> None:
    context = ScriptedStepContext(error)
    keys = OUTCOMES[kind][0].keys
    with pytest.raises(type(error)):
        await run_step(context, type=kind, **keys)
    at_once = 3 if kind in ("claude_batch", "parallel_claude") else 1
    assert len(context.requests) <= at_once


@pytest.mark.parametrize("kind", ASKING)
async def test_a_cancelled_call_is_cut_off_and_cancels_the_step(kind: str) -> None:
    context = ScriptedStepContext("never")
    cut: list[Any] = []

    async def stuck(request: Any) -> Any:
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            cut.append(request)
            raise

    context.complete = stuck  # type: ignore[method-assign]
    task = asyncio.ensure_future(run_step(context, type=kind, **OUTCOMES[kind][0].keys))
    for _ in range(5):
        await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert cut
