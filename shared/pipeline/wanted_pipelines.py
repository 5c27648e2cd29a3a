"""What a document's steps want of the steps before them where those are to give pipelines: schemas to ask models for, and the
candidates among which a deployed one was chosen."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from shared.pipeline.document import Document, Step
from shared.pipeline.names import VALUE_NAMES, value_field
from shared.pipeline.step import Want
from shared.pipeline.template_names import template_facts
from shared.pipeline.walk import kind_of, references, walk

_ONE_EXPRESSION = re.compile(r"\s*\{\{[^{}]*\}\}\s*")
_DRAFTED_STEP = {
    "type": "object",
    "properties": {
        "name": {"type": "string", "pattern": "^[a-z][a-z0-9_]{0,30}$"},
        "type": {"enum": ["claude", "claude_robust", "gemini"]},
        "prompt": {"type": "string", "minLength": 1, "maxLength": 600},
    },
    "required": ["name", "type", "prompt"],
    "additionalProperties": False,
}
DRAFT: Mapping[str, Any] = {
    "type": "object",
    "description": "A pipeline: steps in order, each a prompt to a model that sees what the step before it answered.",
    "properties": {
        "name": {"type": "string", "pattern": "^[a-z][a-z0-9_]{0,30}$"},
        "steps": {"type": "array", "items": _DRAFTED_STEP, "minItems": 1, "maxItems": 2},
    },
    "required": ["name", "steps"],
    "additionalProperties": False,
}
"""A small document that a model can be held to; what it wrote is checked like any other before it runs."""
DRAFTS: Mapping[str, Any] = {"type": "array", "items": dict(DRAFT), "minItems": 1, "maxItems": 5}
CHOICE: Mapping[str, Any] = {
    "type": "string",
    "description": "Name of the chosen pipeline, copied exactly.",
    "minLength": 1,
    "maxLength": 120,
}


_OF_FIELDS: Mapping[Want, Mapping[str, Any]] = {"choice": CHOICE, "pipelines": DRAFTS}


@dataclass(frozen=True)
class WantedPipelines:
    """Schemas by what is read: a whole step's answers, or one field of its value."""

    of_steps: Mapping[str, Mapping[str, Any]]
    of_fields: Mapping[tuple[str, str], Mapping[str, Any]]


def with_candidates(document: Document) -> Document:
    """Each step that may be told its candidates and is not: those that the comparison compared which its choice came from."""
    steps = {step.name: step for step in document.steps}
    return document.model_copy(update={"steps": tuple(_with_candidates(step, steps) for step in document.steps)})


def wanted_pipelines(document: Document) -> WantedPipelines:
    kinds = {step.name: kind_of(step) for step in walk(document.steps)}
    of_steps: dict[str, Mapping[str, Any]] = {}
    of_fields: dict[tuple[str, str], Mapping[str, Any]] = {}
    for step in walk(document.steps):
        for template, want in kind_of(step).wants(step.options):
            for path in _paths(template):
                field = value_field(path)
                if field and want in _OF_FIELDS:
                    of_fields[path[1], field] = _OF_FIELDS[want]
                elif want == "pipelines" and path[1] in kinds and _is_whole(path):
                    of_steps[path[1]] = DRAFT if kinds[path[1]].answers_many else DRAFTS
    return WantedPipelines(of_steps, of_fields)


def _paths(template: str) -> list[tuple[str, ...]]:
    """What a template that is one expression reads of steps; text around it may make a pipeline's name of anything."""
    if not _ONE_EXPRESSION.fullmatch(template):
        return []
    return [path for path in sorted(template_facts(template).names) if path[0] == "steps" and len(path) > 1]


def _is_whole(path: tuple[str, ...]) -> bool:
    return len(path) == 2 or path[2] in VALUE_NAMES


def _with_candidates(step: Step, steps: Mapping[str, Step]) -> Step:
    sources = [path[1] for template, _ in kind_of(step).wants(step.options) for path in _paths(template)]
    compared = next((found for name in sources if (found := _compared(name, steps, set())) is not None), None)
    if compared is None:
        return step
    return step.model_copy(update={"options": kind_of(step).told_candidates(step.options, compared)})


def _compared(name: str, steps: Mapping[str, Step], seen: set[str]) -> Any:
    """The pipelines that a step compares, or that were compared by the nearest step which it reads."""
    if name not in steps or name in seen:
        return None
    seen.add(name)
    own = kind_of(steps[name]).compares(steps[name].options)
    if own is not None:
        return own
    read = sorted(path[1] for path in references(steps[name]) if path[0] == "steps" and len(path) > 1)
    return next((found for each in read if (found := _compared(each, steps, seen)) is not None), None)
