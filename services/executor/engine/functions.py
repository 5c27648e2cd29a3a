"""The function catalogue as runs call it: pure entries are computed apart, the others come from the stores of the services that own
them."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from services.executor.domain.degradation import degraded_pipelines
from services.executor.ports import Allowance, Computations, Questions
from shared.errors import EvolineError, NotFoundError
from shared.events.answers import reading
from shared.events.deployments import GetPipeline, ListPipelines
from shared.events.generation import ListRequests
from shared.events.improvement import GetEvolution, GetKnowledge, GetReport
from shared.events.message import Query
from shared.events.runs import ListRuns
from shared.pipeline.completion import ToolSpec
from shared.pipeline.functions import FunctionSpec, function_catalogue, validate_arguments
from shared.store_inputs.pipelines import deployed_pipelines, document_of

Answer = Callable[[Mapping[str, Any]], Awaitable[Any]]

METRIC_FIELDS: Mapping[str, tuple[str, ...]] = {
    "latency": ("latency_p50_seconds", "latency_p95_seconds"),
    "token_usage": ("input_tokens", "output_tokens", "calls"),
    "error_rate": ("error_rate", "degraded_rate"),
    "success_rate": ("success_rate",),
    "cost": ("cost_usd",),
    "quality": ("quality",),
}
FULL_DIGEST, BRIEF_DIGEST = 64, 12
"""Hex digits of a revision's name, and how many of them are enough to tell it."""
PROBES: Mapping[str, Query] = {
    "generator": ListRequests(limit=1),
    "executor": ListRuns(limit=1),
    "analytics": GetReport(limit=1),
    "learner": GetKnowledge(limit=1),
    "evolution": GetEvolution(evolution_id="health"),
    "guardrail": ListPipelines(limit=1),
}
"""A cheap question to each service; any answer of it, a refusal too, shows that it works."""


class FunctionDesk:
    def __init__(self, questions: Questions, computations: Computations) -> None:
        self._questions = questions
        self._computations = computations
        self._stores: Mapping[str, Answer] = {
            "aggregate_metrics": self._aggregate_metrics,
            "check_component_health": self._check_component_health,
            "detect_degradation": self._detect_degradation,
            "recent_runs": self._recent_runs,
            "successful_pipelines": self._successful_pipelines,
            "get_pipeline": self._get_pipeline,
            "mine_patterns": self._mine_patterns,
        }

    def spec(self, name: str) -> ToolSpec:
        found = self._catalogued(name)
        return ToolSpec(name=found.name, description=found.description, parameters=dict(found.parameters))

    async def call(self, name: str, arguments: Mapping[str, Any], allowance: Allowance) -> Any:
        """Raises `NotFoundError`, `InvalidInputError` for arguments, `UnavailableError` where a store is not there, and what
        `Computations` raises."""
        spec = self._catalogued(name)
        if spec.pure is not None:
            return await self._computations.compute(name, arguments, allowance)
        validate_arguments(spec, arguments)
        return await self._stores[name](arguments)

    async def compute(self, name: str, arguments: Mapping[str, Any], allowance: Allowance) -> Any:
        """A step's own computation. Raises what `Computations` raises."""
        return await self._computations.compute(name, arguments, allowance)

    def _catalogued(self, name: str) -> FunctionSpec:
        catalogue = function_catalogue()
        if name not in catalogue:
            raise NotFoundError(f"no function `{name}`; there are: {', '.join(sorted(catalogue))}")
        return catalogue[name]

    async def _aggregate_metrics(self, arguments: Mapping[str, Any]) -> Any:
        query = GetReport(pipeline=arguments.get("pipeline"), limit=arguments.get("limit", 10))
        wanted = arguments.get("metrics_types", list(METRIC_FIELDS))
        kinds = [wanted] if isinstance(wanted, str) else wanted
        fields = ("pipeline", "digest", "purpose", "runs", *(field for kind in kinds for field in METRIC_FIELDS[kind]))
        answer = await self._questions.ask(query)
        with reading(query):
            return {"pipelines": [{field: _brief(row.get(field)) for field in fields} for row in answer["pipelines"]]}

    async def _check_component_health(self, arguments: Mapping[str, Any]) -> Any:
        names = [arguments["component"]] if "component" in arguments else list(PROBES)
        return {"components": [await self._health(name) for name in names]}

    async def _health(self, name: str) -> dict[str, Any]:
        try:
            await self._questions.ask(PROBES[name])
        except NotFoundError:
            pass
        except EvolineError as error:
            return {"component": name, "healthy": False, "detail": str(error)}
        return {"component": name, "healthy": True, "detail": "answers"}

    async def _detect_degradation(self, arguments: Mapping[str, Any]) -> Any:
        answer = await self._questions.ask(ListRuns(pipeline=arguments.get("pipeline"), imported=False, limit=500))
        with reading(ListRuns):
            return {"degraded": degraded_pipelines(answer["runs"])[: arguments.get("limit", 20)]}

    async def _recent_runs(self, arguments: Mapping[str, Any]) -> Any:
        wanted = {name: arguments.get(name) for name in ("pipeline", "status")}
        return dict(await self._questions.ask(ListRuns(**wanted, imported=False, limit=arguments.get("limit", 20))))

    async def _successful_pipelines(self, arguments: Mapping[str, Any]) -> Any:
        best = (await deployed_pipelines(self._questions, arguments.get("domain")))[: arguments.get("limit", 5)]
        return {"pipelines": [{**row, "document": await document_of(self._questions, row["name"])} for row in best]}

    async def _get_pipeline(self, arguments: Mapping[str, Any]) -> Any:
        return dict(await self._questions.ask(GetPipeline(pipeline=arguments["pipeline"])))

    async def _mine_patterns(self, arguments: Mapping[str, Any]) -> Any:
        answer = await self._questions.ask(GetKnowledge(domain=arguments.get("domain"), limit=arguments.get("limit", 20)))
        return {"patterns": answer.get("patterns", [])}


def _brief(value: Any) -> Any:
    """As few digits as say something: a model reads every one of them."""
    if isinstance(value, float):
        return float(f"{value:.4g}")
    if isinstance(value, str):
        return value[:BRIEF_DIGEST] if len(value) == FULL_DIGEST else value
    return {name: _brief(member) for name, member in value.items()} if isinstance(value, Mapping) else value
