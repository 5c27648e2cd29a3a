"""A small task whose truth is known: words that a text lists help on the cases that need them."""

from __future__ import annotations

import hashlib
import random
from collections import Counter
from typing import Any

WORDS = ("amber", "birch", "cedar", "delta")
SEED = {"instruction": "Name the thing. Be brief.", "note": "amber"}


def cases(count: int, mark: str) -> list[dict[str, Any]]:
    generator = random.Random(mark)
    return [{"input": {"need": generator.choice(WORDS), "n": f"{mark}{index}"}, "expected": index % 3} for index in range(count)]


SPLITS = {"train": cases(20, "a"), "dev": cases(40, "b"), "sealed": cases(60, "c")}


class Evaluator:
    """Right where the candidate lists the word that the case needs, else by luck; counts what it was asked."""

    def __init__(self, luck: float = 0.3, helps: bool = True) -> None:
        self.luck = luck
        self.helps = helps
        self.asked: Counter[str] = Counter()

    def __call__(self, candidate: dict[str, str], case: dict[str, Any]) -> tuple[float, str]:
        need, text = case["input"]["need"], " ".join(candidate[key] for key in sorted(candidate))
        self.asked[f"{text}|{case['input']['n']}"] += 1
        known = self.helps and need in text
        lucky = _uniform(f"{text}|{case['input']['n']}") < self.luck
        return float(known or lucky), f"needs {need}"


def listing(parent: dict[str, str], feedback: list[dict[str, Any]]) -> dict[str, str]:
    """A proposer that reads its feedback."""
    wanted = [row["case"]["input"]["need"] for row in feedback]
    fresh = [word for word in wanted if word not in parent["note"]]
    return {**parent, "note": f"{parent['note']} {fresh[0]}"} if fresh else dict(parent)


def _uniform(text: str) -> float:
    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest(), "big") / 2**64
