"""Instruction first and item last, or the other way round."""

from __future__ import annotations

import random
from collections.abc import Mapping
from dataclasses import replace
from typing import Any, ClassVar

from shared.search.candidates import OperatorContext, Proposal
from shared.search.operators.edits import answering_site, with_prompt


class PromptOrder:
    name: ClassVar[str] = "prompt_order"
    # Item first costs the prompt cache, so it is tried seldom.
    weight: ClassVar[float] = 0.3

    def apply(self, document: Mapping[str, Any], context: OperatorContext, generator: random.Random) -> Proposal | None:
        site = answering_site(document)
        if site is None or site.prompt.examples:
            return None
        prompt = replace(site.prompt, item_first=not site.prompt.item_first)
        text = "item first" if prompt.item_first else "instruction first"
        return Proposal(with_prompt(document, site.index, prompt), self.name, text)
