"""Fewer labelled examples in the prompt: one, half or all of them go."""

from __future__ import annotations

import random
from collections.abc import Mapping
from dataclasses import replace
from typing import Any, ClassVar

from shared.search.candidates import OperatorContext, Proposal
from shared.search.operators.edits import answering_site, with_prompt
from shared.search.prompts import join_examples, split_examples


class ExamplesDrop:
    name: ClassVar[str] = "examples_drop"
    weight: ClassVar[float] = 0.7

    def apply(self, document: Mapping[str, Any], context: OperatorContext, generator: random.Random) -> Proposal | None:
        site = answering_site(document)
        if site is None or not site.prompt.shows_fixed_examples:
            return None
        shown = split_examples(site.prompt.examples)
        if not shown:
            return None
        keep = generator.choice((len(shown) - 1, len(shown) // 2, 0))
        chosen = sorted(generator.sample(range(len(shown)), keep))
        prompt = replace(site.prompt, examples=join_examples([shown[index] for index in chosen]))
        return Proposal(
            with_prompt(document, site.index, prompt), self.name, f"{len(shown) - keep} of {len(shown)} examples dropped"
        )
