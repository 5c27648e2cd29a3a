"""A second look: a step that sees the first answer and may correct it."""

from __future__ import annotations

import random
from collections.abc import Mapping
from dataclasses import replace
from typing import Any, ClassVar

from shared.search.candidates import OperatorContext, Proposal
from shared.search.genome import answer_expression, copied, free_name, redirected, steps_of
from shared.search.operators.edits import answering_site, with_inserted

_FIRST_ANSWER = "First answer:"


class Verify:
    name: ClassVar[str] = "verify"
    weight: ClassVar[float] = 0.4

    def apply(self, document: Mapping[str, Any], context: OperatorContext, generator: random.Random) -> Proposal | None:
        site, expression = answering_site(document), answer_expression(document)
        if (
            site is None
            or expression is None
            or f"steps.{site.step['name']}." not in expression
            or _FIRST_ANSWER in site.prompt.item
        ):
            return None
        prompt = replace(
            site.prompt,
            instruction=f"{site.prompt.instruction}\nA first answer is given. Keep it if it is right, else give the right one.",
            item=f"{site.prompt.item}\n\n{_FIRST_ANSWER} {{{{ {expression} }}}}",
        )
        name = free_name(document, "verify")
        step = {**copied(site.step), "name": name, "prompt": prompt.text()}
        changed = with_inserted(document, len(steps_of(document)), step)
        changed["outputs"] = redirected(changed.get("outputs", {}), site.step["name"], name)
        return Proposal(changed, self.name, f"{name} checks the answer of {site.step['name']}")
