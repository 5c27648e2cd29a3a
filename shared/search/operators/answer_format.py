"""Output format constraint for answers that are no labels: a number, a truth value or an object, as the examples have them."""

from __future__ import annotations

import random
from collections.abc import Mapping
from typing import Any, ClassVar

from shared.search.candidates import OperatorContext, Proposal
from shared.search.genome import answering_step, copied, steps_of, with_answer

_LEAST_TOKENS = 24
_TOKENS_A_FIELD = 24


class AnswerFormat:
    name: ClassVar[str] = "answer_format"
    weight: ClassVar[float] = 1.0

    def apply(self, document: Mapping[str, Any], context: OperatorContext, generator: random.Random) -> Proposal | None:
        index = answering_step(document)
        if index is None or context.labels or "schema" in steps_of(document)[index]:
            return None
        shape = shape_of([case.expected for case in context.shown])
        if shape is None:
            return None
        changed = copied(document)
        step = steps_of(changed)[index]
        step["schema"] = object_of({"answer": shape})
        least = _LEAST_TOKENS + _TOKENS_A_FIELD * len(shape.get("properties", ()))
        step["max_tokens"] = max(least, step.get("max_tokens", least))
        changed["outputs"] = with_answer(document, f"{{{{ steps.{step['name']}.result.answer }}}}")
        return Proposal(changed, self.name, f"answer of {step['name']} must be {shape['type']}")


def shape_of(answers: list[Any]) -> dict[str, Any] | None:
    """The schema that all answers fit; None where they are texts, lists or of several kinds."""
    if not answers:
        return None
    if all(isinstance(answer, bool) for answer in answers):
        return {"type": "boolean"}
    if all(isinstance(answer, int | float) and not isinstance(answer, bool) for answer in answers):
        return {"type": "number"}
    if all(isinstance(answer, Mapping) for answer in answers):
        fields = sorted(set.intersection(*(set(map(str, answer)) for answer in answers)))
        shapes = {name: shape_of([answer[name] for answer in answers]) or {"type": "string"} for name in fields}
        return object_of(shapes) if fields and all(isinstance(one, dict) for one in shapes.values()) else None
    return None


def object_of(properties: dict[str, Any]) -> dict[str, Any]:
    return {"type": "object", "properties": properties, "required": sorted(properties), "additionalProperties": False}
