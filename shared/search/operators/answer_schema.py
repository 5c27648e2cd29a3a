"""Output format constraint: a free-text answer becomes one of the labels, enforced by the answer's schema."""

from __future__ import annotations

import random
from collections.abc import Mapping
from typing import Any, ClassVar

from shared.search.candidates import OperatorContext, Proposal
from shared.search.genome import answering_step, copied, steps_of, with_answer


class AnswerSchema:
    name: ClassVar[str] = "answer_schema"
    weight: ClassVar[float] = 1.5

    def apply(self, document: Mapping[str, Any], context: OperatorContext, generator: random.Random) -> Proposal | None:
        index = answering_step(document)
        if index is None or not context.labels or "schema" in steps_of(document)[index]:
            return None
        changed = copied(document)
        step = steps_of(changed)[index]
        step["schema"] = label_schema(context.labels)
        step["max_tokens"] = max(24, step.get("max_tokens", 24))
        changed["outputs"] = with_answer(document, f"{{{{ steps.{step['name']}.result.label }}}}")
        return Proposal(changed, self.name, f"answer of {step['name']} must be one of {', '.join(context.labels)}")


def label_schema(labels: tuple[str, ...]) -> dict[str, Any]:
    return {
        "type": "object",
        "properties": {"label": {"enum": list(labels)}},
        "required": ["label"],
        "additionalProperties": False,
    }
