"""What an entry of the function catalogue is, and how its arguments are checked."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

from shared.errors import InvalidInputError, Problem
from shared.pipeline.schema_validation import violations

CostClass = Literal["free", "light", "heavy"]
"""`free`: microseconds in the process; `light`: one query or some milliseconds of computing; `heavy`: seconds."""


@dataclass(frozen=True)
class FunctionSpec:
    """`pure` takes the arguments by name and touches nothing outside; None: the runner answers it from the stores."""

    name: str
    description: str
    parameters: Mapping[str, Any]
    """JSON Schema of the arguments object."""
    cost_class: CostClass
    pure: Callable[..., Any] | None = None


def validate_arguments(spec: FunctionSpec, arguments: Mapping[str, Any]) -> None:
    """Raises `InvalidInputError` with every argument that does not fit."""
    errors = violations(dict(arguments), spec.parameters)
    if errors:
        raise InvalidInputError(
            [Problem(path=f"{spec.name}{error.json_path[1:]}", reason=error.message[:300]) for error in errors[:20]]
        )


def parameters(required: Mapping[str, Any], optional: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """JSON Schema of an arguments object; names that are not listed are refused."""
    return {
        "type": "object",
        "properties": {**required, **(optional or {})},
        "required": [*required],
        "additionalProperties": False,
    }
