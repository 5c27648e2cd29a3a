"""Another type for a step: structured output with re-asking, retries with fallbacks, or back to the plain one."""

from __future__ import annotations

import random
from collections.abc import Mapping
from typing import Any, ClassVar

from shared.search.candidates import OperatorContext, Proposal
from shared.search.genome import prompted_steps, steps_of
from shared.search.operators.edits import with_step


class StepType:
    name: ClassVar[str] = "step_type"
    weight: ClassVar[float] = 0.3

    def apply(self, document: Mapping[str, Any], context: OperatorContext, generator: random.Random) -> Proposal | None:
        positions = prompted_steps(document)
        if not positions:
            return None
        index = generator.choice(positions)
        step = steps_of(document)[index]
        types = ["claude", "claude_robust", *(["claude_extract"] if "schema" in step else [])]
        chosen = generator.choice([name for name in types if name != step["type"]])
        changed = with_step(document, index, {**step, "type": chosen})
        return Proposal(changed, self.name, f"{step['name']} is {chosen} instead of {step['type']}")
