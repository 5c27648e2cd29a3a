"""Nothing of the sealed cases reaches a candidate, not even the name of a class that only they have."""

from __future__ import annotations

import json
from typing import Any

from evoline import optimize

DOCUMENT = {
    "name": "mood",
    "domain": "social",
    "inputs": {"text": {"type": "string"}},
    "steps": [{"name": "classify", "type": "claude", "prompt": "How does the writer feel?\n\n{{ text }}\n", "max_tokens": 20}],
    "outputs": {"answer": "{{ steps.classify.text }}"},
}


def cases(split: str, labels: tuple[str, ...], count: int = 40) -> list[dict[str, Any]]:
    return [{"input": {"text": f"{split} {index}"}, "expected": labels[index % len(labels)]} for index in range(count)]


def test_a_label_that_only_sealed_cases_have_is_in_no_candidate() -> None:
    known = ("good", "bad")
    splits: dict[str, Any] = {
        "train": cases("train", known),
        "dev": cases("dev", known),
        "sealed": cases("sealed", (*known, "unheard")),
    }
    outcome = optimize(
        DOCUMENT, lambda candidate, case: 0.5, **splits, budget=200, operators=("answer_schema",), strategy="genetic"
    )
    written = json.dumps([dict(entry.candidate.document) for entry in outcome.archive.entries])
    assert "bad" in written and "unheard" not in written
