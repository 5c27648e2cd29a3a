"""From a request and its examples to a task: its kind, its classes or answer schema, and which cases are for what."""

from __future__ import annotations

import json
import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from shared.errors import InvalidInputError, Problem
from shared.events.generation import GeneratePipeline
from shared.events.values import Case, GraderSpec
from shared.evidence.graders import infer_grader

TaskKind = Literal["classify", "extract", "answer"]

MINIMUM_EXAMPLES = 6
"""Fewer labelled examples than this cannot tell candidates apart at all."""
TRIAL_SHARE = 0.4
"""Of the train split where no dev cases are given: kept apart from the examples that prompts may show."""
MAXIMUM_INPUT_CHARACTERS = 20_000


@dataclass(frozen=True)
class Task:
    """Everything that strategies and trials need; made once a request."""

    request_id: str
    pipeline: str
    domain: str
    requirements: str
    kind: TaskKind
    grader: GraderSpec
    input_names: tuple[str, ...]
    labels: tuple[str, ...]
    """Classes in order of first appearance; empty unless `kind` is classify."""
    answer_schema: Mapping[str, Any]
    shown: tuple[Case, ...]
    """Training cases that prompts and look-ups may contain."""
    trials: tuple[Case, ...]
    """Cases that candidates are tried on, in trial order; none of them is shown."""


def understand(request: GeneratePipeline, cases: Sequence[Case], grader: GraderSpec | None) -> Task:
    """Raises `InvalidInputError` with every problem of the request and its examples."""
    problems = [*_request_problems(request), *_case_problems(cases)]
    if problems:
        raise InvalidInputError(problems)
    chosen = request.grader or grader or infer_grader(cases)
    kind, labels = _kind(chosen, cases)
    grader_problems = _grader_problems(chosen, cases, labels)
    if grader_problems:
        raise InvalidInputError(grader_problems)
    shown, trials = _divide(cases, request.seed)
    return Task(
        request_id=request.request_id,
        pipeline=request.name or default_name(request.domain, request.request_id),
        domain=request.domain,
        requirements=request.requirements.strip(),
        kind=kind,
        grader=chosen,
        input_names=tuple(cases[0].input),
        labels=labels,
        answer_schema=answer_schema(kind, cases),
        shown=shown,
        trials=trials,
    )


def default_name(domain: str, request_id: str) -> str:
    tail = "".join(character if character.isalnum() else "_" for character in request_id.lower())
    return f"{domain.replace('-', '_')}_{tail}"[:63].rstrip("_")


def _request_problems(request: GeneratePipeline) -> list[Problem]:
    problems = []
    if request.examples and request.dataset_id:
        problems.append(
            Problem(
                path="dataset_id",
                reason="examples and dataset_id contradict each other",
                suggestion="give the cases inline or name a registered dataset, not both",
            )
        )
    if not request.requirements.strip():
        problems.append(Problem(path="requirements", reason="says nothing", suggestion="say in words what the pipeline shall do"))
    if request.constraints.generation_calls == 0 and request.constraints.max_calls > 0:
        problems.append(
            Problem(
                path="constraints.generation_calls",
                reason="is 0: no candidate that calls a model could be tried",
                suggestion="allow at least 20, or set max_calls to 0 to ask for a pipeline without model calls",
            )
        )
    known = {"claude", "gemini"}
    problems += [
        Problem(path=f"constraints.providers[{index}]", reason=f"unknown provider {name!r}", suggestion="claude or gemini")
        for index, name in enumerate(request.constraints.providers)
        if name not in known
    ]
    return problems


def _case_problems(cases: Sequence[Case]) -> list[Problem]:
    if len(cases) < MINIMUM_EXAMPLES:
        return [
            Problem(
                path="examples",
                reason=f"{len(cases)} labelled examples; at least {MINIMUM_EXAMPLES} are needed to tell candidates apart",
                suggestion="add labelled examples inline, or register a dataset and name it in dataset_id",
            )
        ]
    problems = []
    names = set(cases[0].input)
    expected_by_input: dict[str, tuple[int, Any]] = {}
    seen_ids: dict[str, int] = {}
    for index, case in enumerate(cases):
        path = f"examples[{index}]"
        if case.expected is None or case.expected == "":
            problems.append(Problem(path=f"{path}.expected", reason="has no label", suggestion="label it or leave it out"))
        if set(case.input) != names:
            problems.append(
                Problem(
                    path=f"{path}.input",
                    reason=f"has the fields {sorted(case.input)}; the first example has {sorted(names)}",
                    suggestion="give every example the same input fields",
                )
            )
        if not all(name.isidentifier() for name in case.input):
            problems.append(
                Problem(path=f"{path}.input", reason="a field is not a plain name", suggestion="use letters, digits and _ only")
            )
        key = json.dumps(case.input, sort_keys=True, ensure_ascii=False)
        if len(key) > MAXIMUM_INPUT_CHARACTERS:
            problems.append(
                Problem(path=f"{path}.input", reason=f"is {len(key)} characters long; at most {MAXIMUM_INPUT_CHARACTERS} are read")
            )
        before = expected_by_input.setdefault(key, (index, case.expected))
        if before[1] != case.expected:
            problems.append(
                Problem(
                    path=f"{path}.expected",
                    reason=f"contradicts examples[{before[0]}]: the same input with another label",
                    suggestion="keep the right one",
                )
            )
        if case.id in seen_ids:
            problems.append(Problem(path=f"{path}.id", reason=f"is the id of examples[{seen_ids[case.id]}] as well"))
        seen_ids.setdefault(case.id, index)
    return problems


def _kind(grader: GraderSpec, cases: Sequence[Case]) -> tuple[TaskKind, tuple[str, ...]]:
    if grader.kind == "label":
        return "classify", tuple(dict.fromkeys(str(case.expected) for case in cases))
    if grader.kind == "json_fields":
        return "extract", ()
    return "answer", ()


def _grader_problems(grader: GraderSpec, cases: Sequence[Case], labels: Sequence[str]) -> list[Problem]:
    if grader.kind == "label" and len(labels) < 2:
        return [
            Problem(
                path="examples",
                reason=f"all examples have the one class {labels[0]!r}",
                suggestion="add examples of the other classes; with one class nothing can be learned or measured",
            )
        ]
    checks: Mapping[str, tuple[str, Any]] = {
        "numeric": ("a number", lambda value: isinstance(value, int | float) and not isinstance(value, bool)),
        "json_fields": ("an object", lambda value: isinstance(value, dict)),
        "label": ("a string", lambda value: isinstance(value, str)),
    }
    if grader.kind not in checks:
        return []
    wanted, fits = checks[grader.kind]
    return [
        Problem(
            path=f"examples[{index}].expected",
            reason=f"is {type(case.expected).__name__}, but the grader {grader.kind!r} wants {wanted}",
            suggestion="correct the label or choose another grader",
        )
        for index, case in enumerate(cases)
        if not fits(case.expected)
    ]


def answer_schema(kind: TaskKind, cases: Sequence[Case]) -> dict[str, Any]:
    """JSON Schema of a step's answer, read off the examples; strings are bounded so that a small model comes to an end."""
    if kind == "extract":
        names = tuple(dict.fromkeys(name for case in cases for name in case.expected))
        properties = {name: _value_schema([case.expected.get(name) for case in cases]) for name in names}
    else:
        properties = {"answer": _value_schema([case.expected for case in cases])}
    return {"type": "object", "properties": properties, "required": list(properties), "additionalProperties": False}


def _value_schema(values: Sequence[Any]) -> dict[str, Any]:
    types: list[str] = []
    for value in values:
        name = {bool: "boolean", int: "number", float: "number", str: "string", type(None): "null", list: "array"}.get(
            type(value), "object"
        )
        if name not in types:
            types.append(name)
    schema: dict[str, Any] = {"type": types[0] if len(types) == 1 else types}
    if "string" in types:
        longest = max(len(value) for value in values if isinstance(value, str))
        schema["maxLength"] = max(16, 2 * longest)
    if "array" in types:
        schema["maxItems"] = 20
    return schema


def _divide(cases: Sequence[Case], seed: int) -> tuple[tuple[Case, ...], tuple[Case, ...]]:
    """Shown and trial cases: dev cases are tried on where there are any, else a share of the rest; sealed ones serve neither."""
    train = [case for case in cases if case.split in (None, "train")]
    dev = [case for case in cases if case.split == "dev"]
    order = random.Random(f"trial:{seed}")  # noqa: S311 - a reproducible shuffle, no secret
    order.shuffle(train)
    if not dev:
        cut = max(3, round(len(train) * TRIAL_SHARE))
        dev, train = train[:cut], train[cut:]
    order.shuffle(dev)
    return tuple(train), tuple(balanced(dev))


def balanced(cases: Sequence[Case]) -> list[Case]:
    """Cases with their labels taken in turn, so that every prefix of a trial is about balanced."""
    groups: dict[str, list[Case]] = {}
    for case in cases:
        key = case.expected if isinstance(case.expected, str) else "any"
        groups.setdefault(key, []).append(case)
    taken: list[Case] = []
    while any(groups.values()):
        taken += [group.pop(0) for group in groups.values() if group]
    return taken
