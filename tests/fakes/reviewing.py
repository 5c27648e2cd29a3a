"""A change that waits for people, and what is asked of it."""

from __future__ import annotations

from typing import Any

from services.guardrail.domain.policy import Policy
from services.guardrail.use_cases import get_review
from shared.events.changes import ChangeQueued, ReviewRefused
from shared.events.message import Message
from shared.events.oversight import GetReview
from tests.fakes.guardrail import Bench, bench, pipeline, shipped_policy

HIGH = pipeline(steps=[{"name": "classify", "type": "gemini", "prompt": "Say the sentiment of: {{ text }}"}], limits={"calls": 500})


MEDIUM = pipeline("Name the sentiment of: {{ text }}", limits={"calls": 500})


async def waiting(document: dict[str, Any] = HIGH, **fields: Any) -> Bench:
    at = bench()
    await at.propose(pipeline())
    (queued,) = await at.propose(document, "c2", **fields)
    assert isinstance(queued, ChangeQueued)
    return at


def refusal(found: list[Message]) -> str:
    (fact,) = found
    assert isinstance(fact, ReviewRefused), fact
    return fact.reason


async def stable(at: Bench) -> str:
    deployment = await at.at.deployments.get("triage")
    assert deployment is not None
    return deployment.stable


async def seen(at: Bench, change_id: str = "c2") -> dict[str, Any]:
    return await get_review(GetReview(change_id=change_id), at.at)


def other_policy(**fields: Any) -> Policy:
    return Policy.parse({**shipped_policy().document.model_dump(), **fields}, "another")
