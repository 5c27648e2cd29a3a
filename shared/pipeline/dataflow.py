"""What a step waits for, and the context that a prompt is given which refers to nothing."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from shared.pipeline.document import Document, Fallback, Step
from shared.pipeline.names import as_names
from shared.pipeline.template_names import template_facts
from shared.pipeline.template_text import with_context
from shared.pipeline.templates import render_prompt
from shared.pipeline.walk import inner_steps, output_names, references, template_sites, walk

_ONLY_ABOUT_THE_RUN = frozenset(("run", "pipeline"))


@dataclass(frozen=True)
class AutoContext:
    """`previous_step` None where there is none; `inputs` are those that nothing in the document refers to."""

    previous_step: str | None = None
    inputs: tuple[str, ...] = ()

    def __bool__(self) -> bool:
        return self.previous_step is not None or bool(self.inputs)


def auto_context(document: Document, step: Step) -> AutoContext:
    """The context that the step's prompts without any reference are given; empty where it has no such prompt."""
    if step.context == "none" or not any(site.is_prompt and refers_to_nothing(site.text) for site in template_sites(step)):
        return AutoContext()
    return AutoContext(_previous(document.steps, step.name), unreferenced_inputs(document))


def refers_to_nothing(template: str) -> bool:
    """Whether a prompt reads no step, input, loop item or variable."""
    return all(path[0] in _ONLY_ABOUT_THE_RUN for path in template_facts(template).names)


def unreferenced_inputs(document: Document) -> tuple[str, ...]:
    """Declared inputs that no template of the document reads, in declared order."""
    if not document.inputs:
        return ()
    used = {path[0] for step in document.steps for path in references(step)} | {path[0] for path in output_names(document.outputs)}
    return tuple(name for name in document.inputs if name not in used)


def context_section(context: AutoContext, names: Mapping[str, Any]) -> str:
    """Text of the automatic context: named data blocks, inputs first; empty where the step has none or all of it was skipped."""
    return with_context("", _sections(context, names)) if context else ""


def render_step_prompt(document: Document, step: Step, template: str, names: Mapping[str, Any]) -> str:
    """A step's prompt as the model reads it: rendered, data delimited, automatic context appended where it applies."""
    prompt = render_prompt(template, names)
    if step.context == "none" or not refers_to_nothing(template):
        return prompt
    return with_context(prompt, _sections(auto_context(document, step), names))


def dependencies(document: Document) -> dict[str, set[str]]:
    """For each top-level step, the top-level steps that must have ended before it starts in `execution: dataflow`.

    Edges come from references (inner steps' included), `after`, the automatic context, and variables: a reader of `vars`
    waits for every `set_variable` written before it."""
    owner = {inner.name: step.name for step in document.steps for inner in walk((step,))}
    edges: dict[str, set[str]] = {}
    setters: list[str] = []
    for step in document.steps:
        names = references(step)
        wanted = {owner[path[1]] for path in names if path[0] == "steps" and len(path) > 1 and path[1] in owner}
        wanted.update(owner.get(name, name) for member in walk((step,)) for name in member.after)
        wanted.update(previous for member in walk((step,)) if (previous := auto_context(document, member).previous_step))
        if any(path[0] == "vars" for path in names):
            wanted.update(setters)
        if any(member.type == "set_variable" for member in walk((step,))):
            setters.append(step.name)
        edges[step.name] = {owner.get(name, name) for name in wanted} - {step.name}
    return edges


def find_cycle(edges: Mapping[str, set[str]]) -> tuple[str, ...]:
    """Names along one cycle, first repeated at the end; empty where there is none."""
    done: set[str] = set()
    for start in edges:
        trail: list[str] = []
        pending = [(start, False)]
        while pending:
            name, leaving = pending.pop()
            if leaving:
                done.add(trail.pop())
            elif name in trail:
                return (*trail[trail.index(name) :], name)
            elif name not in done and name in edges:
                trail.append(name)
                pending.append((name, True))
                pending.extend((wanted, False) for wanted in sorted(edges[name]))
    return ()


def _previous(steps: Sequence[Step], name: str) -> str | None:
    """The step written before, on the same level; a fallback takes the place of the step that it stands in for."""
    before: str | None = None
    for step in steps:
        if step.name == name:
            return before
        inner = inner_steps(step)
        if any(member.name == name for member in walk(inner)):
            is_fallback = isinstance(step.on_error, Fallback) and step.on_error.fallback.name == name
            return before if is_fallback else _previous(inner, name)
        before = step.name
    return None


def _sections(context: AutoContext, names: Mapping[str, Any]) -> dict[str, Any]:
    prepared = as_names(names)
    sections = {name: prepared[name] for name in context.inputs if name in prepared}
    steps = prepared.get("steps", {})
    before = context.previous_step
    if before is not None and before in steps and steps[before]["status"] != "skipped":
        sections[before] = steps[before]
    return sections
