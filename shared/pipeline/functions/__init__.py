"""The function catalogue: what `function` steps and models may call. Each entry is real, typed, documented and has a cost class."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from typing import Any

from shared.errors import InvalidInputError, NotFoundError
from shared.pipeline.functions.arithmetic import ARITHMETIC
from shared.pipeline.functions.json_text import PARSE_JSON
from shared.pipeline.functions.lookup import LOOKUP_TABLE
from shared.pipeline.functions.nearest import NEAREST_EXAMPLES
from shared.pipeline.functions.regex import REGEX_EXTRACT
from shared.pipeline.functions.spec import FunctionSpec, validate_arguments
from shared.pipeline.functions.stores import STORE_BACKED
from shared.pipeline.functions.transform import transform
from shared.pipeline.functions.vote import VOTE

__all__ = ["FunctionSpec", "call_pure", "compute", "function_catalogue", "validate_arguments"]

_PURE = (NEAREST_EXAMPLES, REGEX_EXTRACT, PARSE_JSON, VOTE, ARITHMETIC, LOOKUP_TABLE)


@cache
def function_catalogue() -> Mapping[str, FunctionSpec]:
    """All functions by name. Those with `pure=None` are answered by the runner over bus queries."""
    return {spec.name: spec for spec in (*STORE_BACKED, *_PURE)}


def call_pure(name: str, arguments: Mapping[str, Any]) -> Any:
    """Validates the arguments and runs one pure function. Raises `NotFoundError`, `InvalidInputError`."""
    spec = function_catalogue().get(name)
    if spec is None:
        raise NotFoundError(f"no function `{name}`; there are: {', '.join(sorted(function_catalogue()))}")
    validate_arguments(spec, arguments)
    if spec.pure is None:
        raise InvalidInputError(f"function `{name}` is answered from the stores, which are not at hand here")
    return spec.pure(**arguments)


def compute(name: str, arguments: Mapping[str, Any]) -> Any:
    """What a process for computations runs: a pure function of the catalogue, or the work of a `data_transform` step."""
    return transform(**arguments) if name == "data_transform" else call_pure(name, arguments)
