"""A line that leans the model to or from one label: small models have a favourite, and one line moves it."""

from __future__ import annotations

import random
from collections.abc import Mapping
from dataclasses import replace
from typing import Any, ClassVar

from shared.search.candidates import OperatorContext, Proposal
from shared.search.operators.edits import answering_site, with_prompt
from shared.search.operators.phrases import CLEAR_HEAD, DOUBT_HEAD
from shared.search.prompts import escape


class LabelEmphasis:
    name: ClassVar[str] = "label_emphasis"
    weight: ClassVar[float] = 1.0

    def apply(self, document: Mapping[str, Any], context: OperatorContext, generator: random.Random) -> Proposal | None:
        site = answering_site(document)
        labels = (site.labels or context.labels) if site else ()
        if site is None or not labels:
            return None
        label = generator.choice(labels)
        line = generator.choice(_lines(label))
        former = {escape(each) for known in {*labels, *context.labels} for each in _lines(known)}
        kept = [text for text in site.prompt.instruction.splitlines() if text not in former]
        instruction = "\n".join((*kept, escape(line)))
        if instruction == site.prompt.instruction or not kept:
            return None
        return Proposal(with_prompt(document, site.index, replace(site.prompt, instruction=instruction)), self.name, line)


def _lines(label: str) -> tuple[str, str]:
    """A former one is replaced; what the prompt itself says of labels, in other words, stays."""
    return f"{DOUBT_HEAD} {label}.", f"{CLEAR_HEAD} {label} if the text clearly says so."
