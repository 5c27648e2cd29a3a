"""Inner steps of loops and switches: their options, one round of them, and what a round is worth."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Annotated, Any

from pydantic import BeforeValidator, Field

from shared.pipeline.document import Step
from shared.pipeline.names import StepView, step_view
from shared.pipeline.step import StepContext, StepResult, StepStatus

InnerSteps = Annotated[
    tuple[Step, ...],
    BeforeValidator(lambda value: [value] if isinstance(value, Mapping | Step) else value),
    Field(min_length=1, max_length=50),
]
"""A list of steps; a single step may stand without the list."""


@dataclass(frozen=True)
class Round:
    """One pass over the inner steps: the value of the last step that was not skipped, and the worst status."""

    value: Any = None
    text: str = ""
    status: StepStatus = "ok"
    error: str = ""
    error_code: str = ""
    steps: Mapping[str, StepView] = field(default_factory=dict)
    """The inner steps as templates read them."""


async def run_round(steps: Sequence[Step], scope: str, names: Mapping[str, Any], context: StepContext) -> Round:
    return round_of(steps, await context.run_steps(steps, scope, names))


def round_of(steps: Sequence[Step], results: Mapping[str, StepResult]) -> Round:
    """Failed where a step failed for good; one that may fail (`on_error: continue`) only degrades the round."""
    views = {name: step_view(result) for name, result in results.items()}
    fatal = next(
        (s.name for s in steps if s.name in results and results[s.name].status == "failed" and s.on_error != "continue"), None
    )
    if fatal:
        result = results[fatal]
        return Round(result.value, "", "failed", f"step `{fatal}`: {result.error}", result.error_code, views)
    ran = [each for each in results.values() if each.status != "skipped"]
    if not ran:
        return Round(status="skipped", steps=views)
    clean = all(each.status == "ok" for each in ran)
    return Round(ran[-1].value, ran[-1].text, "ok" if clean else "degraded", steps=views)


def position_of(step: Step, context: StepContext) -> str:
    return context.run.position or step.name
