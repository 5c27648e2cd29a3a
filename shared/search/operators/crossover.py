"""Component-wise crossover by role: answering steps exchange instruction, examples, label order or numbers, steps that prepare or
check an answer their instructions."""

from __future__ import annotations

import random
from collections.abc import Mapping
from dataclasses import replace
from typing import Any, ClassVar

from shared.search.candidates import OperatorContext, Proposal
from shared.search.genome import steps_of, with_labels
from shared.search.operators.edits import Site, answering_site, with_prompt, with_step
from shared.search.prompts import read_prompt
from shared.search.roles import Role, with_role

_PARTS = ("instruction", "examples", "labels", "numbers")
_HELPING: tuple[Role, ...] = ("prepares", "checks")


class Crossover:
    name: ClassVar[str] = "crossover"
    weight: ClassVar[float] = 1.0

    def apply(self, document: Mapping[str, Any], context: OperatorContext, generator: random.Random) -> Proposal | None:
        if not context.mates:
            return None
        mate = generator.choice(context.mates)
        pair = [document, mate.document]
        generator.shuffle(pair)
        base, donor = (answering_site(one) for one in pair)
        if base is None or donor is None:
            return None
        chosen = [part for part in _PARTS if generator.random() < 0.5]
        changed = with_step(pair[0], base.index, _crossed(base, donor, chosen))
        told = [f"{', '.join(chosen)} of {base.step['name']}"] if changed["steps"] != pair[0]["steps"] else []
        for role in _HELPING:
            ours, theirs = with_role(pair[0], role), with_role(pair[1], role)
            if ours and theirs and generator.random() < 0.5:
                index = generator.choice(ours)
                changed = _with_instruction(changed, index, steps_of(pair[1])[generator.choice(theirs)])
                told.append(f"instruction of {steps_of(changed)[index]['name']}")
        if changed["steps"] == pair[0]["steps"]:
            return None
        return Proposal(changed, self.name, f"{'; '.join(told)} from a mate", mate.origins)


def _with_instruction(document: dict[str, Any], index: int, donor: Mapping[str, Any]) -> dict[str, Any]:
    ours, theirs = read_prompt(steps_of(document)[index]["prompt"]), read_prompt(donor["prompt"])
    if ours is None or theirs is None:
        return document
    return with_prompt(document, index, replace(ours, instruction=theirs.instruction))


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
