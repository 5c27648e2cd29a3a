"""Thinking in words before the answer (Wei et al. 2022, arXiv 2201.11903), as a step of its own: the answer stays constrained."""

from __future__ import annotations

import random
from collections.abc import Mapping
from dataclasses import replace
from typing import Any, ClassVar

from shared.search.candidates import OperatorContext, Proposal
from shared.search.genome import free_name
from shared.search.operators.edits import answering_site, with_inserted, with_prompt
from shared.search.prompts import Prompt

_REASONING = "Reasoning:"


class ReasonFirst:
    name: ClassVar[str] = "reason_first"
    weight: ClassVar[float] = 0.3

    def apply(self, document: Mapping[str, Any], context: OperatorContext, generator: random.Random) -> Proposal | None:
        site = answering_site(document)
        if site is None or _REASONING in site.prompt.item or "steps." in site.prompt.item:
            return None
        name, tokens = free_name(document, "reason"), 96 if context.labels else 220
        thinking = Prompt(
            f"{site.prompt.instruction}\nDo not answer yet: say briefly what speaks for which answer.", site.prompt.item
        )
        reason = {"name": name, "type": "claude", "prompt": thinking.text(), "max_tokens": tokens}
        prompt = replace(site.prompt, item=f"{site.prompt.item}\n\n{_REASONING}\n{{{{ steps.{name}.text }}}}")
        changed = with_inserted(with_prompt(document, site.index, prompt), site.index, reason)
        return Proposal(changed, self.name, f"{name} thinks before {site.step['name']}")
