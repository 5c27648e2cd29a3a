"""The instruction in another phrasing from the library, around the seed's own words."""

from __future__ import annotations

import random
from collections.abc import Mapping
from dataclasses import replace
from typing import Any, ClassVar

from shared.search.candidates import OperatorContext, Proposal
from shared.search.operators.edits import answering_site, with_prompt
from shared.search.operators.phrases import FREE_FRAMES, LABEL_FRAMES
from shared.search.prompts import escape


class InstructionVariant:
    name: ClassVar[str] = "instruction_variant"
    weight: ClassVar[float] = 1.5

    def apply(self, document: Mapping[str, Any], context: OperatorContext, generator: random.Random) -> Proposal | None:
        site, seed = answering_site(document), answering_site(context.seed)
        if site is None:
            return None
        core = (seed or site).prompt.instruction
        labels = site.labels or context.labels
        frame = generator.choice(LABEL_FRAMES if labels else FREE_FRAMES)
        # Not str.format: instructions may hold braces of their own.
        instruction = frame.replace("{labels}", escape(", ".join(labels))).replace("{core}", core)
        if instruction == site.prompt.instruction:
            return None
        changed = with_prompt(document, site.index, replace(site.prompt, instruction=instruction))
        return Proposal(changed, self.name, f"instruction of {site.step['name']}: {frame.replace('{core}', '...')[:120]}")
