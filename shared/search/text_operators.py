"""Operators for candidates that are maps of texts, as prompts of any program: small seeded edits that need no model."""

from __future__ import annotations

import random
import re
from collections.abc import Mapping
from typing import Any, ClassVar

from shared.search.candidates import OperatorContext, Proposal
from shared.search.operators.operator import Operator
from shared.search.operators.phrases import FREE_FRAMES

_SENTENCE_END = re.compile(r"(?<=[.!?])\s+|\n+")
LONGEST_TEXT = 20_000
"""Characters of one text; what would grow beyond is not proposed."""


def text_operators() -> tuple[Operator, ...]:
    """In a fixed order."""
    return (DropSentence(), FrameText(), MixTexts(), MoveSentence(), RepeatSentence())


class DropSentence:
    name: ClassVar[str] = "drop_sentence"
    weight: ClassVar[float] = 1.0

    def apply(self, document: Mapping[str, Any], context: OperatorContext, generator: random.Random) -> Proposal | None:
        key, sentences = _drawn(document, generator)
        if len(sentences) < 2:
            return None
        dropped = sentences.pop(generator.randrange(len(sentences)))
        return _proposal(document, key, " ".join(sentences), self.name, f"without: {dropped}")


class MoveSentence:
    name: ClassVar[str] = "move_sentence"
    weight: ClassVar[float] = 0.7

    def apply(self, document: Mapping[str, Any], context: OperatorContext, generator: random.Random) -> Proposal | None:
        key, sentences = _drawn(document, generator)
        if len(sentences) < 2:
            return None
        moved = sentences.pop(generator.randrange(len(sentences)))
        sentences.insert(generator.randrange(len(sentences) + 1), moved)
        return _proposal(document, key, " ".join(sentences), self.name, f"moved: {moved}")


class RepeatSentence:
    """What matters, once more at the end: small models forget the middle (Liu et al. 2023, arXiv 2307.03172)."""

    name: ClassVar[str] = "repeat_sentence"
    weight: ClassVar[float] = 0.7

    def apply(self, document: Mapping[str, Any], context: OperatorContext, generator: random.Random) -> Proposal | None:
        key, sentences = _drawn(document, generator)
        if len(sentences) < 2:
            return None
        repeated = generator.choice(sentences[:-1])
        return _proposal(document, key, " ".join([*sentences, repeated]), self.name, f"repeated: {repeated}")


class FrameText:
    """The seed's text inside a phrasing that helped elsewhere."""

    name: ClassVar[str] = "frame_text"
    weight: ClassVar[float] = 1.0

    def apply(self, document: Mapping[str, Any], context: OperatorContext, generator: random.Random) -> Proposal | None:
        key = generator.choice(sorted(document))
        frame = generator.choice(FREE_FRAMES)
        text = frame.replace("{core}", str(context.seed.get(key, document[key])))
        return _proposal(document, key, text, self.name, frame.replace("{core}", f"<{key}>"))


class MixTexts:
    """Component-wise crossover: each text from one of two parents."""

    name: ClassVar[str] = "crossover"
    weight: ClassVar[float] = 1.0

    def apply(self, document: Mapping[str, Any], context: OperatorContext, generator: random.Random) -> Proposal | None:
        if not context.mates:
            return None
        mate = generator.choice(context.mates).document
        taken = [key for key in sorted(document) if key in mate and generator.random() < 0.5]
        mixed = {**document, **{key: mate[key] for key in taken}}
        return None if mixed == dict(document) else Proposal(mixed, self.name, f"{', '.join(taken)} from a mate")


def _drawn(document: Mapping[str, Any], generator: random.Random) -> tuple[str, list[str]]:
    key = generator.choice(sorted(document))
    return key, [part for part in _SENTENCE_END.split(str(document[key])) if part.strip()]


def _proposal(document: Mapping[str, Any], key: str, text: str, operator: str, what: str) -> Proposal | None:
    if text == document[key] or len(text) > LONGEST_TEXT:
        return None
    return Proposal({**document, key: text}, operator, f"{key}: {what}"[:200])
