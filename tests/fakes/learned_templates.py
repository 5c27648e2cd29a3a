"""A learned template that a planted quality likes, as the learner tells it."""

from __future__ import annotations

from typing import Any

from shared.events.improvement import TemplateLearned
from shared.events.values import Attestation, Score
from shared.pipeline.document import Document
from shared.pipeline.loading import load_document

MARK = "Weigh every word twice."
"""What only the template brings in."""


def template_document(mark: str = MARK, name: str = "classify_learned_x") -> dict[str, Any]:
    prompt = f"[[ instruction ]]\n{mark}\nAnswer with exactly one of: [[ labels_text ]].\n\n[[ item ]]\n"
    properties = {"label": {"enum": ["[[ labels ]]"]}}
    schema = {"type": "object", "properties": properties, "required": ["label"], "additionalProperties": False}
    step = {"name": "classify", "type": "claude", "prompt": prompt, "schema": schema, "max_tokens": 24}
    limits = {"seconds": 30, "steps": 2, "calls": 2, "tokens": 6000}
    outputs = {"answer": "{{ steps.classify.result.label }}"}
    return {"name": name, "domain": "library", "limits": limits, "steps": [step], "outputs": outputs}


def learned(
    document: dict[str, Any] | None = None, *, domain: str = "social", low: float = 0.6, attestation: Attestation | None = None
) -> TemplateLearned:
    loaded = load_document(document or template_document())
    return TemplateLearned(
        template=loaded.name,
        digest=loaded.digest,
        domain=domain,
        document=loaded.canonical(),
        support=1,
        score=Score(mean=0.7, low=low, high=0.8, cases=60, grader_hash="h"),
        attestation=attestation,
    )


def likes_the_template(document: Document) -> float:
    return 0.9 if any(MARK in (step.prompt or "") for step in document.steps) else 0.4
