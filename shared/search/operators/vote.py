"""Self-consistency: three phrasings of the question answer, the majority wins (Wang et al. 2022, arXiv 2203.11171).

Phrasings differ instead of temperatures: providers without a temperature get different answers too."""

from __future__ import annotations

import random
from collections.abc import Mapping
from dataclasses import replace
from typing import Any, ClassVar

from shared.search.candidates import OperatorContext, Proposal
from shared.search.genome import answer_expression, copied, free_name, redirected, steps_of, with_answer
from shared.search.operators.edits import Site, answering_site, framed, with_inserted
from shared.search.operators.phrases import LABEL_FRAMES


class Vote:
    name: ClassVar[str] = "vote"
    weight: ClassVar[float] = 0.6

    def apply(self, document: Mapping[str, Any], context: OperatorContext, generator: random.Random) -> Proposal | None:
        site, expression = answering_site(document), answer_expression(document)
        if site is None or not site.labels or expression is None or f"steps.{site.step['name']}." not in expression:
            return None
        frames = generator.sample(LABEL_FRAMES[1:], 2)
        changed = copied(document)
        voices = []
        for frame in frames:
            voice = self._voice(site, frame, free_name(changed, f"{site.step['name']}_voice"))
            voices.append(voice)
            changed = with_inserted(changed, len(steps_of(changed)), voice)
        expressions = [expression, *(redirected(expression, site.step["name"], voice["name"]) for voice in voices)]
        name = free_name(changed, "majority")
        majority = {
            "name": name,
            "type": "function",
            "function": "vote",
            "arguments": {"values": [f"{{{{ {text} }}}}" for text in expressions]},
        }
        changed = with_inserted(changed, len(steps_of(changed)), majority)
        changed["outputs"] = with_answer(document, f"{{{{ steps.{name}.result.winner }}}}")
        return Proposal(changed, self.name, f"majority of {len(expressions)} phrasings")

    def _voice(self, site: Site, frame: str, name: str) -> dict[str, Any]:
        return {**copied(site.step), "name": name, "prompt": replace(site.prompt, instruction=framed(frame, site)).text()}
