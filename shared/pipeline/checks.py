"""Static checks of a parsed document: names, references, templates, schemas, functions, cycles, limits. All faults at once."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from difflib import get_close_matches
from typing import Any

from shared.errors import InvalidInputError
from shared.pipeline.dataflow import dependencies, find_cycle
from shared.pipeline.document import RESERVED_NAMES, Document, Step
from shared.pipeline.functions import function_catalogue
from shared.pipeline.inference import all_names
from shared.pipeline.reference_checks import Visible, reference_fault
from shared.pipeline.schema_validation import violations
from shared.pipeline.suggestions import did_you_mean, is_swapped
from shared.pipeline.template_names import condition_facts, template_facts, template_strings
from shared.pipeline.walk import (
    LOOP_FIELDS,
    Path,
    TemplateSite,
    inner_steps,
    kind_of,
    parsed_path,
    template_sites,
    walk,
)

_INPUT_NAME = re.compile(r"^[A-Za-z][A-Za-z0-9_]{0,62}$")
_SURE = 0.86
"""Similarity from which an undeclared name counts as a misspelling of a declared one; two swapped letters do in any name."""


@dataclass(frozen=True)
class Fault:
    """`step` is the step's name, or empty for the document; `path` is relative to it; `line` counts inside the text there.

    `nth` tells steps of one name apart: 0 is the first that is written."""

    step: str
    path: Path
    reason: str
    suggestion: str = ""
    line: int = 0
    nth: int = 0


def check(document: Document) -> list[Fault]:
    """Everything that is wrong with a document whose shape is right."""
    return [
        *_step_names(document),
        *_inputs(document),
        *_steps(document.steps, Visible.of(document), _numbered(document)),
        *_outputs(document),
        *_misspelled_inputs(document),
        *_cycles(document),
        *_limits(document),
    ]


def _step_names(document: Document) -> Iterator[Fault]:
    counted = Counter(step.name for step in walk(document.steps))
    for name, number in counted.items():
        for nth in range(1, number):
            suggestion = "give every step, inner ones too, its own name"
            yield Fault(name, ("name",), f"{number} steps are called `{name}`", suggestion, nth=nth)


def _inputs(document: Document) -> Iterator[Fault]:
    for name, schema in document.inputs.items():
        if name in RESERVED_NAMES or not _INPUT_NAME.match(name):
            reason = f"`{name}` cannot name an input"
            yield Fault("", ("inputs", name), reason, f"use letters, digits and _; not {', '.join(sorted(RESERVED_NAMES))}")
        if "default" in schema:
            for error in violations(schema["default"], schema)[:1]:
                reason = f"the default does not fit its own schema: {error.message}"
                yield Fault("", ("inputs", name, "default"), reason, "change the default or the schema")


def _numbered(document: Document) -> dict[int, int]:
    """Identity of each step -> how many steps of its name are written before it."""
    seen = Counter[str]()
    numbers: dict[int, int] = {}
    for step in walk(document.steps):
        numbers[id(step)] = seen[step.name]
        seen[step.name] += 1
    return numbers


def _steps(steps: tuple[Step, ...], visible: Visible, numbers: Mapping[int, int]) -> Iterator[Fault]:
    """Checks siblings in order; each sees those before it, or in dataflow all but itself."""
    for step in steps:
        seen = visible.for_step(step, steps)
        for fault in _of_step(step, steps, visible, seen):
            yield replace(fault, nth=numbers[id(step)])
        inner = inner_steps(step)
        if inner:
            yield from _steps(inner, seen.inside(step), numbers)


def _of_step(step: Step, siblings: tuple[Step, ...], visible: Visible, seen: Visible) -> Iterator[Fault]:
    yield from _own_rules(step)
    yield from _order(step, siblings, visible)
    yield from _functions(step)
    for site in template_sites(step):
        yield from _template(step, site, seen)


def _own_rules(step: Step) -> Iterator[Fault]:
    for problem in kind_of(step).problems(step):
        yield Fault(step.name, parsed_path(problem.path), problem.reason, problem.suggestion)
    for nested in kind_of(step).nested(step.options):
        if isinstance(nested, Mapping):
            yield from _nested_document(step, nested)
    if step.retry is not None and step.retry.initial_seconds > step.retry.max_seconds:
        yield Fault(step.name, ("retry", "initial_seconds"), "`initial_seconds` is above `max_seconds`")


def _nested_document(step: Step, nested: Mapping[str, Any]) -> Iterator[Fault]:
    from shared.pipeline.loading import load_document  # loading checks with this module

    at = _place_of(nested, step.options.model_dump(mode="json", by_alias=True))
    try:
        load_document(nested)
    except InvalidInputError as error:
        for problem in error.problems:
            reason = f"in the pipeline inside this step: {problem.reason}"
            yield Fault(step.name, (*at, *parsed_path(problem.path)), reason, problem.suggestion)


def _place_of(wanted: Mapping[str, Any], value: Any) -> Path:
    """Where a document stands in a step's options; empty where it is written in another form."""
    if value == wanted:
        return ()
    members = value.items() if isinstance(value, Mapping) else enumerate(value) if isinstance(value, list) else ()
    for key, member in members:
        if member == wanted:
            return (key,)
        inside = _place_of(wanted, member)
        if inside:
            return (key, *inside)
    return ()


def _order(step: Step, siblings: tuple[Step, ...], visible: Visible) -> Iterator[Fault]:
    names = tuple(sibling.name for sibling in siblings)
    for index, name in enumerate(step.after):
        if name == step.name:
            yield Fault(step.name, ("after", index), "a step cannot come after itself", "remove it")
        elif name not in names:
            yield Fault(step.name, ("after", index), f"unknown step `{name}`", did_you_mean(name, names))
        elif not visible.dataflow and names.index(name) > names.index(step.name):
            yield Fault(step.name, ("after", index), f"step `{name}` comes later", "move it up, or use `execution: dataflow`")


def _functions(step: Step) -> Iterator[Fault]:
    known = tuple(sorted(function_catalogue()))
    for name in kind_of(step).functions(step.options):
        if name not in known:
            yield Fault(step.name, ("functions",), f"unknown function `{name}`", did_you_mean(name, known))


def _template(step: Step, site: TemplateSite, visible: Visible) -> Iterator[Fault]:
    facts = (condition_facts if site.is_condition else template_facts)(site.text)
    for line, reason, suggestion in facts.faults:
        yield Fault(step.name, site.path, reason, suggestion, line)
    for name in sorted(facts.names):
        wrong = reference_fault(name, visible)
        if wrong:
            yield Fault(step.name, site.path, *wrong, _line_in(site.text, name))


def _outputs(document: Document) -> Iterator[Fault]:
    visible = Visible.of(document, after_all=True)
    for key, template in document.outputs.items():
        for text in template_strings(template):
            facts = template_facts(text)
            for line, reason, suggestion in facts.faults:
                yield Fault("", ("outputs", key), reason, suggestion, line)
            for name in sorted(facts.names):
                wrong = reference_fault(name, visible)
                if wrong:
                    yield Fault("", ("outputs", key), *wrong, _line_in(text, name))


def _misspelled_inputs(document: Document) -> Iterator[Fault]:
    """Undeclared names become inputs; one that is nearly a declared input, nearly `steps`, or a field of the loop that it is
    used in, is a mistake instead."""
    declared = [*document.inputs, *RESERVED_NAMES]
    used = {path[0] for path in all_names(document)} - set(declared)
    for name in sorted(used):
        step, path, line = _first_use(document, name)
        suggestion = _meant(name, declared, _is_in_loop(document, step))
        if suggestion or not _INPUT_NAME.match(name) or name == "self":
            yield Fault(step, path, f"unknown name `{name}`", suggestion, line)


def _meant(name: str, declared: list[str], in_loop: bool) -> str:
    close = [each for each in declared if is_swapped(name, each)] or get_close_matches(name, declared, 1, _SURE)
    meant = f"loop.{name}" if in_loop and name in ("item", "index") else close[0] if close else ""
    return f"did you mean `{meant}`? Declare `{name}` under `inputs` if it is another input" if meant else ""


def _is_in_loop(document: Document, name: str) -> bool:
    loops = [step for step in walk(document.steps) if step.type in LOOP_FIELDS]
    return any(inner.name == name for loop in loops for inner in walk(kind_of(loop).inner_steps(loop.options)))


def _first_use(document: Document, name: str) -> tuple[str, Path, int]:
    for step in walk(document.steps):
        for site in template_sites(step):
            if any(path[0] == name for path in site.names):
                return step.name, site.path, _line_in(site.text, (name,))
    return "", ("outputs",), 0


def _cycles(document: Document) -> Iterator[Fault]:
    cycle = find_cycle(dependencies(document)) if document.execution == "dataflow" else ()
    if cycle:
        reason = f"these steps wait for each other: {' -> '.join(cycle)}"
        yield Fault(cycle[0], ("after",), reason, "remove one of the references or `after` entries")


def _limits(document: Document) -> Iterator[Fault]:
    limits = document.limits
    if len(document.steps) > limits.steps:
        yield Fault("", ("limits", "steps"), f"{len(document.steps)} steps, but the limit is {limits.steps}", "raise the limit")
    for step in walk(document.steps):
        tokens = document.effective(step).max_tokens
        if tokens is not None and kind_of(step).families and tokens > limits.tokens:
            reason = f"one answer may have {tokens} tokens, but the whole run only {limits.tokens}"
            yield Fault(step.name, ("max_tokens",), reason, "lower `max_tokens` or raise `limits.tokens`")


def _line_in(text: str, name: tuple[str, ...]) -> int:
    """1-based line of the first use of a name inside a text; 1 where it is written in another way."""
    written = re.compile(r"\b" + r"\s*\.\s*".join(re.escape(part) for part in name[:3]))
    found = written.search(text) or re.search(r"\b" + re.escape(name[-1]), text)
    return text.count("\n", 0, found.start()) + 1 if found else 1


def fault_place(fault: Fault, step_paths: Mapping[str, Sequence[Path]]) -> Path:
    """Absolute path of a fault; `step_paths` are those of all steps of a name, in written order."""
    paths = step_paths.get(fault.step, ())
    return (*(paths[min(fault.nth, len(paths) - 1)] if paths else ()), *fault.path)
