"""Another model for one step, of those that a search may try."""

from __future__ import annotations

import random
from collections.abc import Mapping
from typing import Any, ClassVar

from shared.search.candidates import OperatorContext, Proposal
from shared.search.genome import prompted_steps, steps_of
from shared.search.operators.edits import with_step
from shared.search.operators.provider_swap import family_of, in_family


class ModelSwap:
    name: ClassVar[str] = "model_swap"
    weight: ClassVar[float] = 0.5

    def apply(self, document: Mapping[str, Any], context: OperatorContext, generator: random.Random) -> Proposal | None:
        positions = prompted_steps(document)
        if not positions:
            return None
        index = generator.choice(positions)
        step = steps_of(document)[index]
        others = [one for one in context.models if one != f"{family_of(step)}:{step.get('model')}"]
        if not others:
            return None
        changed = with_model(step, generator.choice(others))
        return Proposal(with_step(document, index, changed), self.name, f"{step['name']} asks {changed['model']}")


def with_model(step: Mapping[str, Any], model: str) -> dict[str, Any]:
    """`model`: `family:name`, as in `OperatorContext.models`."""
    family, _, name = model.partition(":")
    return {**in_family(step, family), "model": name}
