"""What each label means, from a small dictionary, or its typical words, counted in the training cases."""

from __future__ import annotations

import math
import random
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, ClassVar

from shared.events.values import Case
from shared.search.candidates import OperatorContext, Proposal
from shared.search.operators.edits import answer_text, answering_site, item_text, with_prompt
from shared.search.operators.phrases import GLOSS_HEAD, GLOSSES, STOP_WORDS, WORDS_HEAD
from shared.search.prompts import escape

_WORD = re.compile(r"[a-z][a-z']{2,19}")
_WORDS_A_LABEL = 6


class LabelGlosses:
    name: ClassVar[str] = "label_glosses"
    weight: ClassVar[float] = 1.2

    def apply(self, document: Mapping[str, Any], context: OperatorContext, generator: random.Random) -> Proposal | None:
        site = answering_site(document)
        labels = (site.labels or context.labels) if site else ()
        if site is None or not labels:
            return None
        options = [block for block in (_meanings(labels), _typical(labels, context.shown)) if block]
        base = _without_glosses(site.prompt.instruction)
        if len(base) < len(site.prompt.instruction):
            options.append("")
        if not options or not base:
            return None
        block = generator.choice(options)
        instruction = f"{base}\n{escape(block)}" if block else base
        if instruction == site.prompt.instruction:
            return None
        text = block.splitlines()[0] if block else "glosses removed"
        return Proposal(with_prompt(document, site.index, replace(site.prompt, instruction=instruction)), self.name, text)


def _meanings(labels: Sequence[str]) -> str:
    known = [(label, GLOSSES[label.casefold()]) for label in labels if label.casefold() in GLOSSES]
    return "\n".join((GLOSS_HEAD, *(f"- {label}: {meaning}" for label, meaning in known))) if len(known) >= 2 else ""


def _typical(labels: Sequence[str], shown: Sequence[Case]) -> str:
    """Words by log odds of standing in a case of the label against the other cases, one count added to each side."""
    counts = {label: Counter[str]() for label in labels}
    for case in shown:
        label = answer_text(case.expected)
        if label in counts:
            counts[label].update(set(_WORD.findall(item_text(case).lower())) - STOP_WORDS)
    total = sum(counts.values(), Counter[str]())
    lines = []
    for label in labels:
        odds = {word: _log_odds(count, total[word] - count) for word, count in counts[label].items() if count >= 2}
        best = sorted(odds, key=lambda word: (-odds[word], word))[:_WORDS_A_LABEL]
        if best:
            lines.append(f"- {label}: {', '.join(best)}")
    return "\n".join((WORDS_HEAD, *lines)) if len(lines) >= 2 else ""


def _log_odds(here: int, elsewhere: int) -> float:
    return math.log((here + 1) / (elsewhere + 1)) * math.sqrt(here)


def _without_glosses(instruction: str) -> str:
    kept, inside = [], False
    for line in instruction.splitlines():
        inside = line in (GLOSS_HEAD, WORDS_HEAD) or (inside and line.startswith("- "))
        if not inside:
            kept.append(line)
    return "\n".join(kept).strip()
