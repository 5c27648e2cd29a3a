"""Niches: where a candidate stands among others that differ in kind, by tokens, latency and structure (MAP-Elites: Mouret and Clune
2015, arXiv 1504.04909). The best of each niche is a deployable trade-off."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from shared.search.candidates import Entry
from shared.search.genome import steps_of
from shared.search.objectives import SECONDS, TOKENS, mean_use

_LONGEST_STRUCTURE = 12
"""Steps that a structure names."""


def niche_of(entry: Entry) -> str:
    """The same for candidates of the same structure that use about as many tokens and seconds, within factors of two."""
    parts = [structure_of(entry.candidate.document)]
    for measure, unit in ((TOKENS, "tokens"), (SECONDS, "s")):
        if (mean := mean_use(entry, measure)) is not None:
            parts.append(octave(mean[0], unit))
    return ", ".join(parts)


def structure_of(document: Mapping[str, Any]) -> str:
    """The kinds of a pipeline's steps in their order, `+examples` where a prompt shows some; of texts their number and size."""
    if not isinstance(document.get("steps"), list):
        texts = [value for value in document.values() if isinstance(value, str)]
        return f"{len(texts)} {'text' if len(texts) == 1 else 'texts'}, {octave(sum(map(len, texts)), 'characters')}"
    kinds = [_kind(step) for step in steps_of(document)]
    more = len(kinds) - _LONGEST_STRUCTURE
    return " > ".join([*kinds[:_LONGEST_STRUCTURE], *([f"{more} more"] if more > 0 else [])])


def octave(value: float, unit: str) -> str:
    """The range between two powers of two that holds the value: `128-256 tokens`."""
    if value <= 0.0:
        return f"no {unit}"
    low = math.floor(math.log2(value))
    return f"{2.0**low:g}-{2.0 ** (low + 1):g} {unit}"


def _kind(step: Mapping[str, Any]) -> str:
    name = str(step.get("function") or step.get("type") or "step")
    prompt = step.get("prompt")
    return f"{name}+examples" if isinstance(prompt, str) and "xamples:" in prompt else name
