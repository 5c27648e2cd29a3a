"""Walking a document: every step, inner ones included, and every template with its place."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import shared.pipeline.steps as step_types
from shared.pipeline.document import Fallback, Step
from shared.pipeline.step import StepType
from shared.pipeline.template_names import NamePath, condition_facts, has_marks, template_facts, template_strings

Path = tuple[str | int, ...]

LOOP_FIELDS: Mapping[str, tuple[str, ...]] = {
    "for_loop": ("item", "index", "length", "first", "last"),
    "while_loop": ("index", "previous", "item", "first"),
}
"""Step types that offer `loop` to their inner steps, and its fields there."""
_PROMPT_ROOTS = ("prompt", "prompts", "tasks")


@dataclass(frozen=True)
class TemplateSite:
    """One template text. `path` is relative to the step."""

    path: Path
    text: str
    is_prompt: bool = False
    """Rendered with `render_prompt`: may be given the automatic context."""
    is_condition: bool = False

    @property
    def names(self) -> frozenset[NamePath]:
        return (condition_facts if self.is_condition else template_facts)(self.text).names


def kind_of(step: Step) -> StepType:
    return step_types.step_type(step.type)


def inner_steps(step: Step) -> tuple[Step, ...]:
    """Steps nested directly in this one: of loops and switches, and its fallback."""
    return (*kind_of(step).inner_steps(step.options), *fallback_steps(step))


def fallback_steps(step: Step) -> tuple[Step, ...]:
    return (step.on_error.fallback,) if isinstance(step.on_error, Fallback) else ()


def answers_schema(step: Step) -> bool:
    """Whether the step's value is the object of its `schema`."""
    return kind_of(step).answers_schema


def walk(steps: tuple[Step, ...]) -> Iterator[Step]:
    """All steps in written order, inner ones after the step that holds them."""
    for step in steps:
        yield step
        yield from walk(inner_steps(step))


def template_sites(step: Step) -> Iterator[TemplateSite]:
    """Every template of the step itself, without those of its inner steps."""
    if step.prompt is not None:
        yield TemplateSite(("prompt",), step.prompt, is_prompt=True)
    if step.system is not None:
        yield TemplateSite(("system",), step.system)
    if step.when is not None:
        yield TemplateSite(("when",), step.when, is_condition=True)
    for written, template in kind_of(step).templates(step.options):
        path = parsed_path(written)
        for text in template_strings(template):
            yield TemplateSite(path, text, is_prompt=_is_prompt(path), is_condition=path[-1:] == ("condition",))
    dumped = step.options.model_dump(mode="json", by_alias=True) if kind_of(step).families else {}
    for root in _PROMPT_ROOTS:
        for text in _plain_prompts(dumped.get(root)):
            yield TemplateSite((root,), text, is_prompt=True)


def references(step: Step) -> frozenset[NamePath]:
    """Names in all templates of the step and of its inner steps."""
    own = frozenset[NamePath]().union(*(site.names for site in template_sites(step)))
    return own.union(*(references(inner) for inner in inner_steps(step)))


def output_names(outputs: Any) -> frozenset[NamePath]:
    return frozenset[NamePath]().union(*(template_facts(text).names for text in template_strings(outputs)))


def parsed_path(written: str) -> Path:
    """`tasks[0].prompt` -> ("tasks", 0, "prompt")."""
    parts = re.findall(r"\[(\d+)\]|([^.\[\]]+)", written)
    return tuple(int(index) if index else name for index, name in parts)


def _plain_prompts(value: Any) -> Iterator[str]:
    """Prompts without any template mark, which step types do not list among their templates."""
    if isinstance(value, str) and value and not has_marks(value):
        yield value
    elif isinstance(value, Mapping):
        members = [value["prompt"]] if "prompt" in value else value.values()
        for member in members:
            yield from _plain_prompts(member)
    elif isinstance(value, list):
        for member in value:
            yield from _plain_prompts(member)


def _is_prompt(path: Path) -> bool:
    return bool(path) and (path[0] in _PROMPT_ROOTS or path[-1] == "prompt")
