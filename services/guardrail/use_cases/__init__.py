"""The guardrail's verbs: (message, ports) -> effects."""

from __future__ import annotations

from services.guardrail.use_cases.bootstrap import attest_shipped
from services.guardrail.use_cases.datasets import get_dataset, list_datasets, register_dataset
from services.guardrail.use_cases.feedback import list_feedback
from services.guardrail.use_cases.measuring import measure_pipelines
from services.guardrail.use_cases.propose import propose_change
from services.guardrail.use_cases.queries import get_change, get_pipeline, list_pipelines, list_reviews
from services.guardrail.use_cases.reviews import decide_review, expire_reviews
from services.guardrail.use_cases.rollbacks import roll_back
from services.guardrail.use_cases.scopes import grant_scope
from services.guardrail.use_cases.telling import Effects

__all__ = [
    "Effects",
    "attest_shipped",
    "decide_review",
    "expire_reviews",
    "get_change",
    "get_dataset",
    "get_pipeline",
    "grant_scope",
    "list_datasets",
    "list_feedback",
    "list_pipelines",
    "list_reviews",
    "measure_pipelines",
    "propose_change",
    "register_dataset",
    "roll_back",
]
