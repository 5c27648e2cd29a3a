"""A search of a pipeline document in a process of its own: `python -m tests.fakes.hash_seeded` prints an archive hash a strategy.

The prompt has paragraphs, cases have labels and words, so that every operator has something to do."""

from __future__ import annotations

import hashlib
import json
from typing import Any

from evoline import optimize
from shared.search.strategies import STRATEGIES
from tests.fakes.evolution_world import LABELS, seed_document

BUDGET = 220
PROMPT = "Label the text.\n\nGood is praise, bad is blame.\n\nBe brief, be fair, be quick.\n\nText: {{ text }}\nLabel:"
WORDS = ("amber bright clear", "dull grey wet", "table paper stone")


def document() -> dict[str, Any]:
    seed = seed_document()
    return {**seed, "steps": [{**seed["steps"][0], "prompt": PROMPT}]}


def cases(count: int, mark: str) -> list[dict[str, Any]]:
    kinds = [number % len(LABELS) for number in range(count)]
    return [{"input": {"text": f"{WORDS[kind]} {mark}{number}"}, "expected": LABELS[kind]} for number, kind in enumerate(kinds)]


def evaluate(candidate: dict[str, Any], case: dict[str, Any]) -> tuple[float, str]:
    text = json.dumps([candidate, case], sort_keys=True)
    return float(hashlib.sha256(text.encode()).digest()[0] < 128), "wrong"


def main() -> None:
    train, dev, sealed = cases(24, "a"), cases(40, "b"), cases(40, "c")
    for name in sorted(STRATEGIES):
        outcome = optimize(document(), evaluate, train, dev, sealed, BUDGET, 3, strategy=name)
        print(name, outcome.evidence.archive_hash, len(outcome.archive.entries))


if __name__ == "__main__":
    main()
