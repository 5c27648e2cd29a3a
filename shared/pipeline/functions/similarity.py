"""Cosine similarity of texts over TF-IDF weights of words and of character n-grams inside words.

Weights: sublinear term frequency 1 + ln(tf), smoothed inverse document frequency 1 + ln((1 + n) / (1 + df)), unit length
(Manning, Raghavan, Schütze, Introduction to Information Retrieval, 6.4). Deterministic: sums run in a fixed order.
"""

from __future__ import annotations

import math
import re
import unicodedata
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

MAX_CHARACTERS = 4000
"""Of one text; what comes after does not count."""
_WORD = re.compile(r"\w+|[^\w\s]+")
"""Runs of punctuation are words too: `:)` and `!!!` say something."""
_NGRAMS = (4, 5)


@dataclass(frozen=True)
class TextIndex:
    """`postings`: feature -> (text number, weight) pairs; `rarity`: feature -> inverse document frequency."""

    size: int
    postings: dict[str, list[tuple[int, float]]]
    rarity: dict[str, float]

    def similarities(self, text: str) -> list[float]:
        """One number in [0, 1] for each indexed text."""
        weights = {name: tf * self.rarity[name] for name, tf in _frequencies(text).items() if name in self.rarity}
        found = [0.0] * self.size
        length = math.sqrt(math.fsum(weight * weight for weight in weights.values()))
        if not length:
            return found
        for name, weight in weights.items():
            share = weight / length
            for index, other in self.postings[name]:
                found[index] += share * other
        return [min(1.0, similarity) for similarity in found]


@lru_cache(maxsize=16)
def index_of(texts: tuple[str, ...]) -> TextIndex:
    """Index of the texts. Remembered, because every run of one pipeline brings the same examples."""
    counted = [_frequencies(text) for text in texts]
    spread = Counter(name for each in counted for name in each)
    rarity = {name: 1.0 + math.log((1 + len(texts)) / (1 + number)) for name, number in spread.items()}
    postings: dict[str, list[tuple[int, float]]] = {name: [] for name in rarity}
    for index, each in enumerate(counted):
        weights = {name: tf * rarity[name] for name, tf in each.items()}
        length = math.sqrt(math.fsum(weight * weight for weight in weights.values())) or 1.0
        for name, weight in weights.items():
            postings[name].append((index, weight / length))
    return TextIndex(len(texts), postings, rarity)


def _frequencies(text: str) -> dict[str, float]:
    return {name: 1.0 + math.log(number) for name, number in Counter(_features(text)).items()}


def _features(text: str) -> Sequence[str]:
    words = _WORD.findall(unicodedata.normalize("NFKC", text[:MAX_CHARACTERS]).casefold())
    features = [f"w:{word}" for word in words]
    for word in words:
        padded = f"_{word}_"
        features += [f"c:{padded[at : at + size]}" for size in _NGRAMS for at in range(len(padded) - size + 1)]
    return features
