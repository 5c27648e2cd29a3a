"""Another provider for one step; which ones there are is the context's business."""

from __future__ import annotations

import random
from collections.abc import Mapping
from typing import Any, ClassVar

from shared.search.candidates import OperatorContext, Proposal
from shared.search.genome import prompted_steps, steps_of
from shared.search.operators.edits import with_step

FAMILIES = ("claude", "gemini")


class ProviderSwap:
    name: ClassVar[str] = "provider_swap"
    weight: ClassVar[float] = 0.3

    def apply(self, document: Mapping[str, Any], context: OperatorContext, generator: random.Random) -> Proposal | None:
        positions = prompted_steps(document)
        families = [family for family in FAMILIES if family in context.families]
        if not positions or len(families) < 2:
            return None
        index = generator.choice(positions)
        step = steps_of(document)[index]
        family = generator.choice([one for one in families if one != family_of(step)])
        return Proposal(with_step(document, index, in_family(step, family)), self.name, f"{step['name']} asks {family}")


def family_of(step: Mapping[str, Any]) -> str:
    return str(step["type"]).partition("_")[0]


def in_family(step: Mapping[str, Any], family: str) -> dict[str, Any]:
    """The step as the plain type of another family, which takes prompt, schema and numbers; a model's name goes with its family."""
    if family == family_of(step):
        return dict(step)
    return {**{key: value for key, value in step.items() if key != "model"}, "type": family}
