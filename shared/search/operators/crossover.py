"""Component-wise crossover by role: the answering steps of two parents exchange instruction, examples, label order or numbers."""

from __future__ import annotations

import random
from collections.abc import Mapping
from dataclasses import replace
from typing import Any, ClassVar

from shared.search.candidates import OperatorContext, Proposal
from shared.search.genome import with_labels
from shared.search.operators.edits import Site, answering_site, with_step

_PARTS = ("instruction", "examples", "labels", "numbers")


class Crossover:
    name: ClassVar[str] = "crossover"
    weight: ClassVar[float] = 1.0

    def apply(self, document: Mapping[str, Any], context: OperatorContext, generator: random.Random) -> Proposal | None:
        if not context.mates:
            return None
        pair = [document, generator.choice(context.mates)]
        generator.shuffle(pair)
        base, donor = (answering_site(one) for one in pair)
        if base is None or donor is None:
            return None
        chosen = [part for part in _PARTS if generator.random() < 0.5]
        step = _crossed(base, donor, chosen)
        if step == base.step:
            return None
        changed = with_step(pair[0], base.index, step)
        return Proposal(changed, self.name, f"{', '.join(chosen)} of {base.step['name']} from a mate")


def _crossed(base: Site, donor: Site, chosen: list[str]) -> dict[str, Any]:
    step, prompt = dict(base.step), base.prompt
    if "instruction" in chosen:
        prompt = replace(prompt, instruction=donor.prompt.instruction)
    fixed = not base.prompt.examples or base.prompt.shows_fixed_examples
    if "examples" in chosen and fixed and donor.prompt.shows_fixed_examples:
        prompt = replace(prompt, examples=donor.prompt.examples, head=donor.prompt.head, item_first=False)
    if "labels" in chosen and sorted(base.labels) == sorted(donor.labels) and base.labels:
        step = with_labels(step, donor.labels)
    if "numbers" in chosen:
        step.update({key: donor.step[key] for key in ("max_tokens", "temperature") if key in donor.step})
    if prompt != base.prompt:
        step["prompt"] = prompt.text()
    return step
