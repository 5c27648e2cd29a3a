"""Input name -> the function that fills it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Mapping
from typing import Any

from shared.errors import InvalidInputError, Problem
from shared.store_inputs.custody import test_dataset, user_feedback
from shared.store_inputs.measures import metrics, trend_analysis
from shared.store_inputs.pipelines import current_capabilities, source_domains, successful_pipelines
from shared.store_inputs.requests import constraints, requirements, resources, target_domain
from shared.store_inputs.stores import Stores
from shared.store_inputs.strategies import learning_strategies, strategy_metrics

_FILLS: Mapping[str, Callable[[Stores], Awaitable[Any]]] = {
    function.__name__: function
    for function in (
        constraints,
        current_capabilities,
        learning_strategies,
        metrics,
        requirements,
        resources,
        source_domains,
        strategy_metrics,
        successful_pipelines,
        target_domain,
        test_dataset,
        trend_analysis,
        user_feedback,
    )
}


def store_names() -> dict[str, str]:
    """Every name that the stores can fill, with what it is filled with."""
    return {name: (fill.__doc__ or "").strip() for name, fill in _FILLS.items()}


def required_inputs(document: Mapping[str, Any]) -> tuple[str, ...]:
    """Inputs of a loaded document that a run must be given."""
    declared: Mapping[str, Any] = document.get("inputs", {})
    return tuple(name for name, schema in declared.items() if not (isinstance(schema, Mapping) and "default" in schema))


class StoreInputs:
    def __init__(self, stores: Stores) -> None:
        self._stores = stores

    async def fill(self, names: Iterable[str]) -> dict[str, Any]:
        """Values by name. Raises `InvalidInputError` with every name that no store can fill, and what the questions raise:
        a service that does not run is an error, not an empty store."""
        wanted = tuple(dict.fromkeys(names))
        if unknown := [name for name in wanted if name not in _FILLS]:
            raise InvalidInputError([_unfillable(name) for name in unknown])
        return {name: await _FILLS[name](self._stores) for name in wanted}


def _unfillable(name: str) -> Problem:
    suggestion = f"give it yourself; the stores fill {', '.join(_FILLS)}"
    return Problem(path=f"inputs.{name}", reason="no store can fill it", suggestion=suggestion)
