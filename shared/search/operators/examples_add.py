"""More labelled examples in the prompt, classes in turn."""

from __future__ import annotations

import random
from collections.abc import Mapping
from dataclasses import replace
from typing import Any, ClassVar

from shared.search.candidates import OperatorContext, Proposal
from shared.search.operators.edits import answering_site, drawn_examples, with_prompt
from shared.search.prompts import EXAMPLES_HEAD, join_examples, split_examples

MOST_EXAMPLES = 16


class ExamplesAdd:
    name: ClassVar[str] = "examples_add"
    weight: ClassVar[float] = 1.5

    def apply(self, document: Mapping[str, Any], context: OperatorContext, generator: random.Random) -> Proposal | None:
        site = answering_site(document)
        if site is None or (site.prompt.examples and not site.prompt.shows_fixed_examples):
            return None
        shown = split_examples(site.prompt.examples)
        count = min(generator.choice((2, 3, 4, 6)), MOST_EXAMPLES - len(shown))
        more = drawn_examples(context, count, shown, generator) if count > 0 else []
        if not more:
            return None
        block = [*shown, *more]
        prompt = replace(site.prompt, examples=join_examples(block), head=EXAMPLES_HEAD, item_first=False)
        changed = with_prompt(document, site.index, prompt)
        return Proposal(changed, self.name, f"{len(more)} examples more in {site.step['name']}: {len(block)}")
