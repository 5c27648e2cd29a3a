"""A cheap model first, a strong one only where two phrasings of the cheap one disagree (FrugalGPT: Chen et al. 2023, arXiv
2305.05176; disagreement as the sign of doubt: Yue et al. 2024, arXiv 2310.03094)."""

from __future__ import annotations

import random
from collections.abc import Mapping
from dataclasses import replace
from typing import Any, ClassVar

from shared.search.candidates import OperatorContext, Proposal
from shared.search.genome import answer_expression, copied, free_name, redirected, steps_of, with_answer
from shared.search.operators.edits import answering_site, framed, with_inserted, with_step
from shared.search.operators.model_swap import with_model
from shared.search.operators.phrases import LABEL_FRAMES


class Cascade:
    name: ClassVar[str] = "cascade"
    weight: ClassVar[float] = 0.5

    def apply(self, document: Mapping[str, Any], context: OperatorContext, generator: random.Random) -> Proposal | None:
        site, expression = answering_site(document), answer_expression(document)
        if len(context.models) < 2 or site is None or not site.labels or expression is None:
            return None
        name = site.step["name"]
        if not expression.startswith(f"steps.{name}."):
            return None
        cheap, strong = context.models[0], context.models[-1]
        frame = generator.choice(LABEL_FRAMES[1:])
        first = with_model(site.step, cheap)
        changed = with_step(document, site.index, first)
        prompt = replace(site.prompt, instruction=framed(frame, site)).text()
        second = {**copied(first), "name": free_name(changed, f"{name}_again"), "prompt": prompt}
        again = redirected(expression, name, second["name"])
        third = {
            **with_model(site.step, strong),
            "name": free_name(changed, f"{name}_strong"),
            "when": f"{{{{ {expression} != {again} }}}}",
        }
        decided = redirected(expression, name, third["name"])
        changed = with_inserted(changed, len(steps_of(changed)), second, third)
        changed["outputs"] = with_answer(document, f"{{{{ {expression} if {expression} == {again} else {decided} }}}}")
        return Proposal(changed, self.name, f"{first['model']} twice, {third['model']} where they disagree")
