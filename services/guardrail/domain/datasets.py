"""Rules that a dataset must keep before anything may be claimed on it. All problems are reported at once."""

from __future__ import annotations

import hashlib
import json
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from services.guardrail.domain.records import SplitCases
from shared.errors import InvalidInputError, Problem
from shared.events.datasets import RegisterDataset
from shared.events.values import Case, GraderSpec, Split
from shared.evidence.graders import grade, grader_hash, normalized_text
from shared.evidence.leaks import leaking_fields
from shared.evidence.splits import assign_split

SPLITS: tuple[Split, ...] = ("train", "dev", "sealed")
MINIMUM: Mapping[Split, int] = {"train": 1, "dev": 1, "sealed": 3}
"""Least cases a split. Three sealed cases can certify nothing; they can be counted."""
MAX_PROBLEMS = 50
_ALWAYS_HASHED = frozenset(("id", "input", "expected", "split", "tags"))
"""Fields of a case that digests hold also where they are not set. Nothing is ever added: what was registered keeps its digest."""


def split_cases(dataset_id: str, cases: Sequence[Case]) -> SplitCases:
    """Every case in its split, in the order of their ids: by its own word, else by hash."""
    by_split: dict[str, list[Case]] = {split: [] for split in SPLITS}
    for case in sorted(cases, key=lambda each: each.id):
        split = case.split or assign_split(dataset_id, case.id)
        by_split[split].append(case.model_copy(update={"split": split}))
    return SplitCases.model_validate({split: tuple(found) for split, found in by_split.items()})


def dataset_digest(domain: str, grader: GraderSpec, cases: SplitCases) -> str:
    """SHA-256 of domain, grader and every case with its split; the order of the cases does not count."""
    content = {
        "domain": domain,
        "grader": grader_hash(grader),
        "cases": [_hashed(case) for split in SPLITS for case in cases.of(split)],
    }
    return hashlib.sha256(_canonical(content).encode()).hexdigest()


def _hashed(case: Case) -> dict[str, Any]:
    """A field that a case got later counts where it says something, so that data sets from before stay what they are."""
    said = case.model_dump(mode="json", exclude_defaults=True)
    return {name: value for name, value in case.model_dump(mode="json").items() if name in _ALWAYS_HASHED or name in said}


def dataset_problems(command: RegisterDataset, cases: SplitCases) -> tuple[Problem, ...]:
    """Everything that is wrong with the dataset; empty where it may be registered."""
    found = [
        *_duplicate_ids(command.cases),
        *_repeated_inputs(cases),
        *_grader_problems(command),
        *_small_splits(cases),
    ]
    labels = list(_unlabelled(command.cases))
    found += labels or [*_one_class(command, cases), *_ungradable(command), *_leaking(command.cases)]
    return tuple(found[:MAX_PROBLEMS])


def input_digest(case: Case) -> str:
    """Same for inputs that differ only in case and white space: such twins leak labels from one split to another."""
    return hashlib.sha256(_canonical(_plain(case.input)).encode()).hexdigest()


def _plain(value: Any) -> Any:
    if isinstance(value, str):
        return " ".join(value.casefold().split())
    if isinstance(value, Mapping):
        return {key: _plain(each) for key, each in value.items()}
    return [_plain(each) for each in value] if isinstance(value, list | tuple) else value


def _duplicate_ids(cases: Sequence[Case]) -> Iterator[Problem]:
    seen: set[str] = set()
    for case in cases:
        if case.id in seen:
            yield Problem(path=f"cases[{case.id}]", reason="the id occurs more than once", suggestion="give every case its own id")
        seen.add(case.id)


def _repeated_inputs(cases: SplitCases) -> Iterator[Problem]:
    """The same input in two splits leaks its label; twice among the sealed cases it counts one lucky answer twice."""
    places: dict[str, list[Case]] = defaultdict(list)
    for split in SPLITS:
        for case in cases.of(split):
            places[input_digest(case)].append(case)
    for twins in places.values():
        if len({twin.split for twin in twins}) > 1:
            names = ", ".join(f"{twin.id} ({twin.split})" for twin in twins[:5])
            yield Problem(
                path=f"cases[{twins[0].id}].input",
                reason=f"the same input stands in several splits: {names}",
                suggestion="keep one of them, or put all into one split",
            )
        elif len(twins) > 1 and twins[0].split == "sealed":
            names = ", ".join(twin.id for twin in twins[:5])
            yield Problem(
                path=f"cases[{twins[0].id}].input",
                reason=f"the same input stands {len(twins)} times among the sealed cases: {names}",
                suggestion="keep one of them: no answer may count twice",
            )


def _unlabelled(cases: Sequence[Case]) -> Iterator[Problem]:
    for case in cases:
        if case.expected is None or case.expected == "":
            yield Problem(path=f"cases[{case.id}].expected", reason="no label", suggestion="null is a label only inside an object")


def _grader_problems(command: RegisterDataset) -> Iterator[Problem]:
    try:
        grader_hash(command.grader)
    except InvalidInputError as error:
        yield from error.problems


def _one_class(command: RegisterDataset, cases: SplitCases) -> Iterator[Problem]:
    if len({_class(case.expected) for case in command.cases}) == 1:
        yield Problem(
            path="cases",
            reason=f"every case has the same label {command.cases[0].expected!r}: a constant answer would score 1",
            suggestion="add cases with other labels",
        )
    elif command.grader.kind == "label" and cases.sealed and len({_class(case.expected) for case in cases.sealed}) == 1:
        yield Problem(
            path="cases",
            reason=f"all {len(cases.sealed)} sealed cases have the same label {cases.sealed[0].expected!r}",
            suggestion="add cases, or name the splits so that the sealed one holds every label",
        )


def _ungradable(command: RegisterDataset) -> Iterator[Problem]:
    """The registered grader must find the label itself right, else it measures something else than the labels."""
    if command.grader.kind == "regex" or any(_grader_problems(command)):
        return
    for case in command.cases:
        if grade(command.grader, case.expected, {"answer": case.expected}) < 1.0:
            yield Problem(
                path=f"cases[{case.id}].expected",
                reason=f"the grader `{command.grader.kind}` does not find the label {case.expected!r} itself right",
                suggestion="correct the label or choose another grader",
            )


def _leaking(cases: Sequence[Case]) -> Iterator[Problem]:
    for field, count, total in leaking_fields((case.input, case.expected) for case in cases):
        yield Problem(
            path=f"cases[].input.{field}",
            reason=f"is the label itself in {count} of {total} cases: an answer is read there, not found",
            suggestion="leave the field out of the inputs",
        )


def _small_splits(cases: SplitCases) -> Iterator[Problem]:
    for split in SPLITS:
        if len(cases.of(split)) < MINIMUM[split]:
            yield Problem(
                path="cases",
                reason=f"{len(cases.of(split))} cases in {split}, at least {MINIMUM[split]} are needed",
                suggestion="add cases or name their splits",
            )


def _class(expected: Any) -> str:
    return normalized_text(expected) or _canonical(expected)


def _canonical(value: Any) -> str:
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
