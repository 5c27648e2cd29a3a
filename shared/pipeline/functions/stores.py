"""Functions over the system's own stores. Their answers come from bus queries; here stands what they take and mean."""

from __future__ import annotations

from typing import Any

from shared.pipeline.functions.spec import FunctionSpec, parameters

METRICS = ("latency", "token_usage", "error_rate", "success_rate", "cost", "quality")
COMPONENTS = ("generator", "executor", "analytics", "learner", "evolution", "guardrail")

_PIPELINE = {"type": "string", "pattern": r"^[a-z][a-z0-9_]{0,62}$", "description": "Name of one pipeline; without it all."}
_DOMAIN = {"type": "string", "pattern": r"^[a-z][a-z0-9_-]{0,62}$", "description": "Only pipelines of this domain."}


def _limit(default: int, most: int) -> dict[str, Any]:
    return {"type": "integer", "minimum": 1, "maximum": most, "default": default}


STORE_BACKED = (
    FunctionSpec(
        name="aggregate_metrics",
        description="Aggregates of finished runs per pipeline: latency, token usage, error and success rate, cost, quality.",
        parameters=parameters(
            {},
            {
                "metrics_types": {
                    "anyOf": [
                        {"enum": [*METRICS]},
                        {"type": "array", "items": {"enum": [*METRICS]}, "minItems": 1, "uniqueItems": True},
                    ],
                    "description": "Which metrics; without it all.",
                },
                "pipeline": _PIPELINE,
                "limit": _limit(10, 200),
            },
        ),
        cost_class="light",
    ),
    FunctionSpec(
        name="check_component_health",
        description="Whether each service answers, with what it says about itself.",
        parameters=parameters({}, {"component": {"enum": [*COMPONENTS], "description": "One service; without it all."}}),
        cost_class="light",
    ),
    FunctionSpec(
        name="detect_degradation",
        description="Pipelines whose recent runs do worse than their earlier ones, in success rate, latency, cost or quality.",
        parameters=parameters({}, {"pipeline": _PIPELINE, "limit": _limit(20, 200)}),
        cost_class="light",
    ),
    FunctionSpec(
        name="recent_runs",
        description="Latest finished runs, newest first: status, latency, usage, error.",
        parameters=parameters(
            {},
            {
                "pipeline": _PIPELINE,
                "status": {"enum": ["succeeded", "degraded", "failed", "refused", "cancelled"]},
                "limit": _limit(20, 200),
            },
        ),
        cost_class="light",
    ),
    FunctionSpec(
        name="successful_pipelines",
        description="Deployed pipelines by success rate and quality, best first, with their documents.",
        parameters=parameters({}, {"domain": _DOMAIN, "limit": _limit(5, 50)}),
        cost_class="light",
    ),
    FunctionSpec(
        name="get_pipeline",
        description="The document, digest and deployment of one pipeline.",
        parameters=parameters(
            {"pipeline": {"type": "string", "pattern": r"^[a-z][a-z0-9_]{0,62}(@(stable|canary|[0-9a-f]{8,64}))?$"}},
        ),
        cost_class="light",
    ),
    FunctionSpec(
        name="mine_patterns",
        description="Counted regularities of good and bad revisions (step sequences, prompt features, ...), with support and lift.",
        parameters=parameters({}, {"domain": _DOMAIN, "limit": _limit(20, 200)}),
        cost_class="light",
    ),
)
