"""Other labelled examples, or the same ones in another order."""

from __future__ import annotations

import random
from collections.abc import Mapping
from dataclasses import replace
from typing import Any, ClassVar

from shared.search.candidates import OperatorContext, Proposal
from shared.search.operators.edits import answering_site, drawn_examples, with_prompt
from shared.search.prompts import join_examples, split_examples


class ExamplesSwap:
    name: ClassVar[str] = "examples_swap"
    weight: ClassVar[float] = 1.0

    def apply(self, document: Mapping[str, Any], context: OperatorContext, generator: random.Random) -> Proposal | None:
        site = answering_site(document)
        if site is None or not site.prompt.shows_fixed_examples:
            return None
        shown = split_examples(site.prompt.examples)
        if len(shown) < 2:
            return None
        block = list(shown)
        out = generator.choice((0, 1, len(shown) // 2))
        fresh = drawn_examples(context, out, shown, generator)
        for index, example in zip(generator.sample(range(len(block)), len(fresh)), fresh, strict=True):
            block[index] = example
        if not fresh:
            generator.shuffle(block)
        if block == shown:
            return None
        prompt = replace(site.prompt, examples=join_examples(block))
        text = f"{len(fresh)} of {len(shown)} examples exchanged" if fresh else "examples in another order"
        return Proposal(with_prompt(document, site.index, prompt), self.name, text)
