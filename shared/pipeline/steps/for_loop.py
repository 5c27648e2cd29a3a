"""`for_loop`: inner steps once for each item; the item is bound anew in every round."""

from __future__ import annotations

from functools import partial
from typing import Any, Literal

from pydantic import Field, model_validator

from shared.errors import InvalidInputError, StepLimitError
from shared.pipeline.document import Step
from shared.pipeline.step import StepContext, StepResult
from shared.pipeline.steps.answers import Tally
from shared.pipeline.steps.base import BaseStepType, Options
from shared.pipeline.steps.bounded import gather_bounded
from shared.pipeline.steps.inner import InnerSteps, Round, position_of, run_round

MAX_ITERATIONS = 100


class ForLoopOptions(Options):
    items: str | list[Any] | None = None
    """A list, or a template that gives one."""
    times: int | None = Field(default=None, ge=0, le=10_000)
    """Counts instead of items: `loop.item` is then 0, 1, ..."""
    steps: InnerSteps
    max_iterations: int = Field(default=MAX_ITERATIONS, ge=1, le=10_000)
    max_parallel: int = Field(default=1, ge=1, le=64)
    on_item_error: Literal["fail", "continue"] = "fail"
    """`continue`: a failed round gives null, and the loop is degraded."""

    @model_validator(mode="after")
    def _bounded(self) -> ForLoopOptions:
        if (self.items is None) == (self.times is None):
            raise ValueError("give either `items` or `times`")
        written = len(self.items) if isinstance(self.items, list) else self.times or 0
        if written > self.max_iterations:
            raise ValueError(f"{written} rounds, but max_iterations is {self.max_iterations}")
        return self


class ForLoopStep(BaseStepType):
    """Value: a list with the value of each round (of its last step), in the order of the items."""

    type_names = ("for_loop",)
    options = ForLoopOptions

    @staticmethod
    def inner_steps(options: Any) -> tuple[Any, ...]:
        return tuple(options.steps)

    @staticmethod
    def repeats(options: Any) -> int:
        if isinstance(options.items, list):
            return len(options.items)
        return int(options.max_iterations if options.times is None else options.times)

    async def run(self, step: Step, options: ForLoopOptions, context: StepContext) -> StepResult:
        tally = Tally(context)
        items = _items(step, options, context)
        rounds = await _run_rounds(step, options, items, context)
        return _result(rounds, options, tally)


def _items(step: Step, options: ForLoopOptions, context: StepContext) -> list[Any]:
    if options.times is not None:
        return list(range(options.times))
    items = context.render(options.items)
    if not isinstance(items, list):
        raise InvalidInputError(f"step `{step.name}`: items must be a list, not {type(items).__name__}")
    if len(items) > options.max_iterations:
        message = f"step `{step.name}`: {len(items)} items, but max_iterations is {options.max_iterations}"
        raise StepLimitError("max_iterations", message)
    return items


async def _run_rounds(step: Step, options: ForLoopOptions, items: list[Any], context: StepContext) -> list[Round | None]:
    """One round for each item; None where the loop had ended in failure before its turn."""
    scope = position_of(step, context)
    ended = False

    async def one(index: int, item: Any) -> Round | None:
        nonlocal ended
        if ended:
            return None
        bound = {"item": item, "index": index, "length": len(items), "first": index == 0, "last": index == len(items) - 1}
        done = await run_round(options.steps, f"{scope}[{index}]", {"loop": bound}, context)
        ended = ended or (done.status == "failed" and options.on_item_error == "fail")
        return done

    return await gather_bounded([partial(one, index, item) for index, item in enumerate(items)], options.max_parallel)


def _result(rounds: list[Round | None], options: ForLoopOptions, tally: Tally) -> StepResult:
    done = [each for each in rounds if each is not None]
    failed = [(index, each) for index, each in enumerate(rounds) if each is not None and each.status == "failed"]
    values = [None if each is None or each.status == "failed" else each.value for each in rounds]
    common: dict[str, Any] = {"value": values, "latency_seconds": tally.elapsed_seconds}
    if failed and options.on_item_error == "fail":
        index, first = failed[0]
        return StepResult(status="failed", error=f"round {index}: {first.error}", error_code=first.error_code, **common)
    degraded = bool(failed) or any(each.status == "degraded" for each in done)
    warnings = tuple(f"round {index}: {each.error}" for index, each in failed)
    return StepResult(status="degraded" if degraded else "ok", warnings=warnings, **common)
