"""What a run, and each step of it, may do at most: of the document itself and of documents written inside it."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from shared.pipeline.document import Document, Limits, Retry, Step
from shared.pipeline.facts import DEFAULT_MAX_TOKENS
from shared.pipeline.loading import load_document
from shared.pipeline.walk import kind_of, walk

Place = tuple[str, ...]
"""Names of the steps that lead to it; empty for the document itself."""


@dataclass
class Bounds:
    limits: dict[Place, Limits] = field(default_factory=dict)
    steps: dict[tuple[Place, str], float] = field(default_factory=dict)
    """(place of the step, name of the bound) -> value; no bound is infinite."""
    inside: dict[Place, str] = field(default_factory=dict)
    """Place -> digest of the document that is written there."""


def bounds_of(document: Document, place: Place = ()) -> Bounds:
    found = Bounds(limits={place: document.limits})
    for step in walk(document.steps):
        effective, here = document.effective(step), (*place, step.name)
        found.steps.update({(here, name): value for name, value in _step_bounds(effective)})
        for index, inner in enumerate(_inline(step)):
            below = (*here, str(index))
            found.inside[below] = inner.digest
            deeper = bounds_of(inner, below)
            found.limits |= deeper.limits
            found.steps |= deeper.steps
            found.inside |= deeper.inside
    return found


def widened_limits(old: Bounds, new: Bounds) -> bool:
    return any(_exceeds(old.limits[place], limits) for place, limits in new.limits.items() if place in old.limits)


def widened_steps(old: Bounds, new: Bounds) -> bool:
    """A step may more than the one of its name could, or some step more than any could: so renaming one hides nothing."""
    if any(value > old.steps[key] for key, value in new.steps.items() if key in old.steps):
        return True
    most_before, most_after = _most(old), _most(new)
    return any(value > most_before[name] for name, value in most_after.items() if name in most_before)


def _most(bounds: Bounds) -> Mapping[str, float]:
    most: dict[str, float] = {}
    for (_, name), value in bounds.steps.items():
        most[name] = max(value, most.get(name, -math.inf))
    return most


def _exceeds(old: Limits, new: Limits) -> bool:
    before, after = old.model_dump(), new.model_dump()
    return any(after[name] > before[name] for name in before)


def _step_bounds(step: Step) -> Iterator[tuple[str, float]]:
    yield "timeout_seconds", math.inf if step.timeout_seconds is None else float(step.timeout_seconds)
    yield "max_attempts", float((step.retry or Retry()).max_attempts)
    if kind_of(step).families:
        yield "max_tokens", float(step.max_tokens or DEFAULT_MAX_TOKENS)
    yield from _numbers(step.options.model_dump(mode="json", by_alias=True), step.type)


def _numbers(value: object, prefix: str) -> Iterator[tuple[str, float]]:
    """Options whose name says that they bound something, at any depth; inner steps are walked by themselves."""
    if not isinstance(value, Mapping) or "type" in value:
        return
    for key, each in value.items():
        if key.startswith("max_") and isinstance(each, int | float) and not isinstance(each, bool):
            yield f"{prefix}.{key}", float(each)
        elif key == "config":
            yield from _numbers(each, f"{prefix}.{key}")


def _inline(step: Step) -> list[Document]:
    return [load_document(each) for each in kind_of(step).nested(step.options) if isinstance(each, Mapping)]
