"""Is a candidate new enough to be worth measuring? Structure first, then the similarity of its texts; costs no evaluation."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping
from typing import Any

from shared.search.candidates import Candidate

_COMPARED_CHARACTERS = 20_000


class Novelty:
    """Remembers candidates. Of the same structure (everything but prose: steps, types, numbers, labels, their order) only those are
    new whose texts differ from all known ones by more than 1 - `similarity`."""

    def __init__(self, similarity: float = 0.99) -> None:
        self._similarity = similarity
        self._known: dict[str, dict[str, str]] = {}
        self.near_copies = 0

    def add(self, candidate: Candidate) -> None:
        structure, prose = _read(candidate.document)
        self._known.setdefault(structure, {})[candidate.digest] = prose

    def is_new(self, candidate: Candidate) -> bool:
        """False for what is known, and for near copies, which are counted."""
        structure, prose = _read(candidate.document)
        alike = self._known.get(structure, {})
        if candidate.digest in alike:
            return False
        if alike and prose and _closest(prose, alike) >= self._similarity:
            self.near_copies += 1
            return False
        return True


def _closest(prose: str, others: Mapping[str, str]) -> float:
    from rapidfuzz.distance import Indel  # 0.1 s, for whoever compares texts only

    return max(Indel.normalized_similarity(prose, other) for other in others.values())


def _read(document: Mapping[str, Any]) -> tuple[str, str]:
    """(hash of everything but prose, the prose). Prose are texts of several words; where there are none, the hash tells all."""
    prose: list[str] = []
    skeleton = _without_prose(document, prose)
    content = json.dumps(skeleton, sort_keys=True, ensure_ascii=False, default=str)
    return hashlib.sha256(content.encode()).hexdigest(), "\n".join(prose)[:_COMPARED_CHARACTERS]


def _without_prose(value: Any, prose: list[str]) -> Any:
    if isinstance(value, str):
        if len(value.split()) < 2:
            return value
        prose.append(value)
        return None
    if isinstance(value, Mapping):
        return {str(key): _without_prose(each, prose) for key, each in _sorted_items(value)}
    return [_without_prose(each, prose) for each in value] if isinstance(value, list | tuple) else value


def _sorted_items(value: Mapping[Any, Any]) -> Iterator[tuple[Any, Any]]:
    return iter(sorted(value.items(), key=lambda item: str(item[0])))
