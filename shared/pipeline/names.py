"""The names that templates see, made from what a runner holds.

`steps.<name>` is the step's envelope: `value` (also `result`, and `results`), `text`, `status`, `usage`, ...; any other field is
read from the validated value, so that `steps.compare.winner` works.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from pydantic import BaseModel

from shared.pipeline.step import StepResult
from shared.pipeline.template_names import NamePath

ENVELOPE_FIELDS = frozenset((*StepResult.model_fields, "result", "results"))
"""Fields of a step that are not read from its value."""
VALUE_NAMES = frozenset(("value", "result", "results"))
_ALIASES = {"result": "value", "results": "value"}
_ENVELOPE_MARKS = frozenset(("value", "status"))


def value_field(path: NamePath) -> str:
    """The field of a step's value that a path reads: `winner` of `steps.x.winner` and of `steps.x.result.winner`; or empty."""
    if path[0] != "steps" or len(path) < 3:
        return ""
    if path[2] in VALUE_NAMES:
        return path[3] if len(path) > 3 and not path[3].lstrip("-").isdigit() else ""
    return "" if path[2] in ENVELOPE_FIELDS else path[2]


class StepView(Mapping[str, Any]):
    """A step's envelope as templates read it. Iterates as the envelope, without the value's own fields."""

    def __init__(self, envelope: Mapping[str, Any]) -> None:
        self._envelope = envelope

    def __getitem__(self, name: str) -> Any:
        if name in self._envelope:
            return self._envelope[name]
        if name in _ALIASES:
            return self._envelope["value"]
        value = self._envelope["value"]
        if isinstance(value, Mapping) and name in value:
            return value[name]
        raise KeyError(name)

    def __contains__(self, name: object) -> bool:
        try:
            self[str(name)]
        except KeyError:
            return False
        return True

    def __iter__(self) -> Iterator[str]:
        return iter(self._envelope)

    def __len__(self) -> int:
        return len(self._envelope)


def step_view(result: StepResult | Mapping[str, Any]) -> StepView:
    """View of a result or of its dump."""
    return StepView(result.model_dump(mode="json") if isinstance(result, StepResult) else result)


def as_names(names: Mapping[str, Any]) -> dict[str, Any]:
    """Names ready for templates: models as maps, members of `steps` as envelopes."""
    prepared = {name: value.model_dump(mode="json") if isinstance(value, BaseModel) else value for name, value in names.items()}
    steps = prepared.get("steps")
    if isinstance(steps, Mapping):
        prepared["steps"] = {name: _viewed(step) for name, step in steps.items()}
    return prepared


def _viewed(step: Any) -> Any:
    if isinstance(step, StepView):
        return step
    if isinstance(step, StepResult) or (isinstance(step, Mapping) and step.keys() >= _ENVELOPE_MARKS):
        return step_view(step)
    return step
