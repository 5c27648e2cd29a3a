"""Graders: frozen, hashed rules that turn an answer into a grade in [0, 1].

A wrong shape is a wrong answer (0.0), never an exception. A bool is not a number, NaN and infinity are never right. Options:

    exact        none; same JSON value, types included (1 and 1.0 are the same number, 1 and true are not)
    normalized   none; same text after Unicode NFKC, case folding, single spaces, no punctuation at the ends
    label        labels: allowed labels (default: whatever is expected); compared as `normalized`
    numeric      tolerance (absolute, 1e-6), relative (0), extract: whole (default) or last number of a text
    json_fields  fields: names that count (default: those of `expected`), tolerance (1e-6); F1 over fields (van Rijsbergen 1979)
    regex        pattern (default: `expected`), ignore_case (false); the whole answer must match
    contains     max_characters (2000); all of `expected` (a text or a list of texts) stand in the answer; longer answers fail,
                 so that repeating the input does not pay
"""

from __future__ import annotations

import hashlib
import json
import math
import re
import unicodedata
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from shared.errors import InvalidInputError, Problem
from shared.events.runs import RunFinished
from shared.events.values import Case, GraderSpec

MAX_LABELS = 20
"""More distinct texts than this are free answers, not labels."""
_MAX_MATCHED_CHARACTERS = 10_000
_NUMBER = re.compile(r"[-+]?(?:\d{1,3}(?:,\d{3})+|\d+)(?:\.\d+)?(?:[eE][-+]?\d+)?|[-+]?\.\d+")
_GRADER_FORMAT = "evoline-grader-1"


class _Options(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class NoGraderOptions(_Options):
    pass


class LabelOptions(_Options):
    labels: tuple[str, ...] = ()


class NumericOptions(_Options):
    tolerance: float = Field(default=1e-6, ge=0)
    relative: float = Field(default=0.0, ge=0)
    extract: Literal["whole", "last"] = "whole"


class FieldOptions(_Options):
    fields: tuple[str, ...] = ()
    tolerance: float = Field(default=1e-6, ge=0)


class RegexOptions(_Options):
    pattern: str | None = None
    ignore_case: bool = False


class ContainsOptions(_Options):
    max_characters: int = Field(default=2000, ge=1)


def grade(spec: GraderSpec, expected: Any, outputs: Any) -> float:
    """Grade in [0, 1] of a run's outputs. Raises `InvalidInputError` only for a grader whose options are wrong."""
    options = grader_options(spec)
    answer = answer_of(outputs, keep_objects=spec.kind == "json_fields")
    found = _GRADERS[spec.kind](options, expected, answer)
    return found if math.isfinite(found) else 0.0


def grade_run(spec: GraderSpec, expected: Any, run: RunFinished) -> float | None:
    """None (a failure) unless the run succeeded: degraded, failed, refused and cancelled runs earn nothing."""
    return grade(spec, expected, run.outputs) if run.status == "succeeded" else None


def answer_of(outputs: Any, *, keep_objects: bool = False) -> Any:
    """The answer inside a run's outputs: the value under `answer`, else the only value of a one-key map, else all of it.

    `keep_objects` (graders of whole objects): a one-key map is the answer, and so is a map whose `answer` is only one field."""
    if not isinstance(outputs, Mapping):
        return outputs
    if "answer" in outputs:
        inner = outputs["answer"]
        return outputs if keep_objects and len(outputs) > 1 and not isinstance(inner, Mapping | str) else inner
    if len(outputs) == 1 and not keep_objects:
        return next(iter(outputs.values()))
    return outputs


def grader_options(spec: GraderSpec) -> Any:
    """The options with defaults filled in. Raises `InvalidInputError` with every problem."""
    try:
        options = _OPTIONS[spec.kind].model_validate(spec.options)
        if isinstance(options, RegexOptions) and options.pattern is not None:
            re.compile(options.pattern)
    except ValidationError as error:
        raise InvalidInputError([_problem(item["loc"], item["msg"]) for item in error.errors()]) from error
    except re.error as error:
        raise InvalidInputError(_problem(("pattern",), f"not a regular expression: {error}")) from error
    return options


def grader_hash(spec: GraderSpec) -> str:
    """64 hex digits; the same whether defaults are spelled out or not."""
    form = {"format": _GRADER_FORMAT, "kind": spec.kind, "options": grader_options(spec).model_dump(mode="json")}
    text = json.dumps(form, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    return hashlib.sha256(text.encode()).hexdigest()


def infer_grader(cases: Sequence[Case]) -> GraderSpec:
    """The grader that the labels ask for: few distinct texts `label`, other texts `normalized`, numbers `numeric`,
    objects `json_fields`, anything else of one type `exact`. Raises `InvalidInputError`: unlabelled, mixed or one answer only."""
    expected = [case.expected for case in cases]
    _refuse_unusable(cases)
    if all(isinstance(value, str) for value in expected):
        labels = sorted(set(expected))
        few = len(labels) <= MAX_LABELS and 2 * len(labels) <= len(expected)
        return GraderSpec(kind="label", options={"labels": labels}) if few else GraderSpec(kind="normalized")
    if all(_is_number(value) for value in expected):
        return GraderSpec(kind="numeric")
    if all(isinstance(value, Mapping) for value in expected):
        return GraderSpec(kind="json_fields", options={"fields": sorted({key for value in expected for key in value})})
    return GraderSpec(kind="exact")


def normalized_text(value: Any) -> str | None:
    """Comparable form of a text: NFKC, case folded, single spaces, no punctuation at the ends. None for other types."""
    if not isinstance(value, str):
        return None
    text = " ".join(unicodedata.normalize("NFKC", value).casefold().split())
    return text.strip(" .,;:!?\"'`()[]{}*_") or text


def _refuse_unusable(cases: Sequence[Case]) -> None:
    if len(cases) < 2:
        raise InvalidInputError(Problem(path="examples", reason=f"{len(cases)} labelled examples", suggestion="give at least 2"))
    unlabelled = [case.id for case in cases if case.expected is None]
    if unlabelled:
        raise InvalidInputError([Problem(path=f"examples[{name}].expected", reason="no label") for name in unlabelled[:20]])
    kinds = {_kind(case.expected) for case in cases}
    if len(kinds) > 1:
        raise InvalidInputError(Problem(path="examples", reason=f"labels of mixed types: {', '.join(sorted(kinds))}"))
    if len({json.dumps(case.expected, sort_keys=True, default=str) for case in cases}) == 1:
        reason = f"every example has the same label {cases[0].expected!r}"
        raise InvalidInputError(Problem(path="examples", reason=reason, suggestion="add cases with other labels"))


def _kind(value: Any) -> str:
    if isinstance(value, bool):
        return "boolean"
    if _is_number(value):
        return "number"
    names = ((str, "text"), (Mapping, "object"), (Sequence, "list"))
    return next((name for kind, name in names if isinstance(value, kind)), type(value).__name__)


def _exact(_: Any, expected: Any, answer: Any) -> float:
    return float(_same(expected, answer, 0.0))


def _normalized(_: Any, expected: Any, answer: Any) -> float:
    wanted = normalized_text(expected)
    return float(wanted is not None and wanted == normalized_text(answer))


def _label(options: LabelOptions, expected: Any, answer: Any) -> float:
    if options.labels and normalized_text(expected) not in {normalized_text(label) for label in options.labels}:
        return 0.0
    return _normalized(None, expected, answer)


def _numeric(options: NumericOptions, expected: Any, answer: Any) -> float:
    wanted, given = _number(expected, "whole"), _number(answer, options.extract)
    if wanted is None or given is None:
        return 0.0
    return float(abs(wanted - given) <= max(options.tolerance, options.relative * abs(wanted)))


def _json_fields(options: FieldOptions, expected: Any, answer: Any) -> float:
    answer = _parsed(answer)
    if not isinstance(expected, Mapping) or not isinstance(answer, Mapping):
        return 0.0
    wanted = {key: expected[key] for key in (options.fields or expected) if key in expected}
    if not wanted:
        return 0.0
    right = sum(key in answer and _same_field(value, answer[key], options.tolerance) for key, value in wanted.items())
    given = sum(not options.fields or key in options.fields for key in answer)
    return 2 * right / (len(wanted) + given)


def _regex(options: RegexOptions, expected: Any, answer: Any) -> float:
    pattern = expected if options.pattern is None else options.pattern
    if not isinstance(pattern, str) or not isinstance(answer, str) or len(answer) > _MAX_MATCHED_CHARACTERS:
        return 0.0
    try:
        return float(re.fullmatch(pattern, answer.strip(), re.IGNORECASE if options.ignore_case else 0) is not None)
    except re.error:
        return 0.0


def _contains(options: ContainsOptions, expected: Any, answer: Any) -> float:
    parts = [expected] if isinstance(expected, str) else expected
    if not isinstance(parts, list | tuple) or not parts or not isinstance(answer, str) or len(answer) > options.max_characters:
        return 0.0
    text = " ".join(answer.casefold().split())
    return float(all(isinstance(part, str) and part.strip() and " ".join(part.casefold().split()) in text for part in parts))


def _same(expected: Any, answer: Any, tolerance: float) -> bool:
    if _is_number(expected) and _is_number(answer):
        return bool(abs(expected - answer) <= tolerance)
    if isinstance(expected, Mapping) and isinstance(answer, Mapping):
        return expected.keys() == answer.keys() and all(_same(expected[key], answer[key], tolerance) for key in expected)
    if isinstance(expected, list | tuple) and isinstance(answer, list | tuple):
        return len(expected) == len(answer) and all(_same(*pair, tolerance) for pair in zip(expected, answer, strict=True))
    return type(expected) is type(answer) and not isinstance(expected, float) and bool(expected == answer)


def _same_field(expected: Any, answer: Any, tolerance: float) -> bool:
    if isinstance(expected, str) and isinstance(answer, str):
        return normalized_text(expected) == normalized_text(answer)
    return _same(expected, answer, tolerance)


def _is_number(value: Any) -> bool:
    """What a float can hold: a model may write hundreds of digits, and arithmetic with these raises."""
    try:
        return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
    except OverflowError:
        return False


def _number(value: Any, extract: str) -> float | None:
    if _is_number(value):
        return float(value)
    if not isinstance(value, str) or len(value) > _MAX_MATCHED_CHARACTERS:
        return None
    found = _NUMBER.findall(value) if extract == "last" else _NUMBER.findall(value) * bool(_NUMBER.fullmatch(value.strip()))
    number = float(found[-1].replace(",", "")) if found else math.nan
    return number if math.isfinite(number) else None


def _parsed(answer: Any) -> Any:
    if not isinstance(answer, str) or len(answer) > _MAX_MATCHED_CHARACTERS:
        return answer
    try:
        return json.loads(answer)
    except (ValueError, RecursionError):
        return answer


def _problem(location: Sequence[Any], reason: str) -> Problem:
    return Problem(path=".".join(("grader", "options", *map(str, location))), reason=reason)


_OPTIONS: Mapping[str, type[_Options]] = {
    "exact": NoGraderOptions,
    "normalized": NoGraderOptions,
    "label": LabelOptions,
    "numeric": NumericOptions,
    "json_fields": FieldOptions,
    "regex": RegexOptions,
    "contains": ContainsOptions,
}
_GRADERS: Mapping[str, Callable[[Any, Any, Any], float]] = {
    "exact": _exact,
    "normalized": _normalized,
    "label": _label,
    "numeric": _numeric,
    "json_fields": _json_fields,
    "regex": _regex,
    "contains": _contains,
}
