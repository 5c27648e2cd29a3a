"""A look-up step before the answer: every item is shown with the most similar labelled examples."""

from __future__ import annotations

import random
from collections.abc import Mapping
from dataclasses import replace
from typing import Any, ClassVar

from shared.events.values import Case
from shared.search.candidates import OperatorContext, Proposal
from shared.search.genome import free_name
from shared.search.operators.edits import (
    LONGEST_EXAMPLE,
    answer_key,
    answer_text,
    answering_site,
    item_text,
    with_inserted,
    with_prompt,
)
from shared.search.prompts import escape

LARGEST_POOL = 120
SIMILAR_HEAD = "Similar examples:"


class NearestExamples:
    name: ClassVar[str] = "nearest_examples"
    weight: ClassVar[float] = 1.2

    def apply(self, document: Mapping[str, Any], context: OperatorContext, generator: random.Random) -> Proposal | None:
        site = answering_site(document)
        if site is None or "steps." in site.prompt.item or (site.prompt.examples and not site.prompt.shows_fixed_examples):
            return None
        pool = example_pool(context, generator)
        if len(pool) < 4:
            return None
        name, count = free_name(document, "nearest"), generator.choice((2, 3, 4, 6))
        lookup = {
            "name": name,
            "type": "function",
            "function": "nearest_examples",
            "arguments": {"query": site.prompt.item, "examples": pool, "k": count},
        }
        prompt = replace(site.prompt, examples=similar_block(name, answer_key(context)), head=SIMILAR_HEAD, item_first=False)
        changed = with_inserted(with_prompt(document, site.index, prompt), site.index, lookup)
        return Proposal(changed, self.name, f"the {count} most similar of {len(pool)} examples are shown")


def example_pool(context: OperatorContext, generator: random.Random) -> list[dict[str, str]]:
    """Labelled examples as `nearest_examples` takes them. A random part of a large training split."""
    cases: list[Case] = [case for case in context.shown if len(item_text(case)) <= LONGEST_EXAMPLE]
    chosen = generator.sample(cases, LARGEST_POOL) if len(cases) > LARGEST_POOL else cases
    return [{"text": escape(item_text(case)), "label": escape(answer_text(case.expected))} for case in chosen]


def similar_block(step_name: str, key: str) -> str:
    return f"{{% for example in steps.{step_name}.result %}}{{{{ example.text }}}}\n{key}: {{{{ example.label }}}}\n{{% endfor %}}"
