"""A preparing step twice: a copy that looks from another side, shown beside the first to whoever reads it."""

from __future__ import annotations

import random
from collections.abc import Mapping
from dataclasses import replace
from typing import Any, ClassVar

from shared.search.candidates import OperatorContext, Proposal
from shared.search.genome import copied, free_name, replaced_text, steps_of
from shared.search.operators.edits import with_inserted
from shared.search.prompts import read_prompt
from shared.search.roles import with_role

_OTHER_SIDES = (
    "Look at it from another side than one would at first.",
    "Say what speaks against the answer that comes to mind first.",
    "Look only at what the text says literally.",
)


class DuplicateStep:
    name: ClassVar[str] = "duplicate_step"
    weight: ClassVar[float] = 0.2

    def apply(self, document: Mapping[str, Any], context: OperatorContext, generator: random.Random) -> Proposal | None:
        positions = with_role(document, "prepares")
        if not positions:
            return None
        index = generator.choice(positions)
        step = steps_of(document)[index]
        prompt, shown = read_prompt(step["prompt"]), f"{{{{ steps.{step['name']}.text }}}}"
        if prompt is None:
            return None
        name = free_name(document, step["name"])
        both = f"{shown}\n{{{{ steps.{name}.text }}}}"
        side = generator.choice(_OTHER_SIDES)
        copy = {**copied(step), "name": name, "prompt": replace(prompt, instruction=f"{prompt.instruction}\n{side}").text()}
        changed = copied(document)
        changed["steps"] = [replaced_text(each, shown, both) for each in steps_of(changed)]
        if changed["steps"] == document["steps"]:
            return None
        return Proposal(with_inserted(changed, index + 1, copy), self.name, f"{name} beside {step['name']}: {side}")
