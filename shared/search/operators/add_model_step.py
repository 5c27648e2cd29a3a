"""A model for a pipeline that has none: it sees the nearest examples that were looked up and gives the label itself."""

from __future__ import annotations

import random
from collections.abc import Mapping
from typing import Any, ClassVar

from shared.search.candidates import OperatorContext, Proposal
from shared.search.genome import copied, free_name, prompted_steps, steps_of, with_answer
from shared.search.operators.answer_schema import label_schema
from shared.search.operators.edits import answer_key
from shared.search.operators.nearest_examples import SIMILAR_HEAD, similar_block
from shared.search.prompts import Prompt, escape


class AddModelStep:
    name: ClassVar[str] = "add_model_step"
    weight: ClassVar[float] = 1.0

    def apply(self, document: Mapping[str, Any], context: OperatorContext, generator: random.Random) -> Proposal | None:
        lookups = [step for step in steps_of(document) if step.get("function") == "nearest_examples"]
        query = lookups[-1].get("arguments", {}).get("query") if lookups else None
        if prompted_steps(document) or not context.labels or not isinstance(query, str):
            return None
        changed = copied(document)
        name = free_name(document, "classify")
        labels = escape(", ".join(context.labels))
        examples = similar_block(lookups[-1]["name"], answer_key(context))
        prompt = Prompt(f"{escape(changed.get('description') or 'Label the text.')}\nAnswer with exactly one of: {labels}.", query)
        prompt = Prompt(prompt.instruction, query, examples, SIMILAR_HEAD)
        steps_of(changed).append(
            {"name": name, "type": "claude", "prompt": prompt.text(), "schema": label_schema(context.labels), "max_tokens": 24}
        )
        changed["outputs"] = with_answer(document, f"{{{{ steps.{name}.result.label }}}}")
        return Proposal(changed, self.name, f"{name} reads the nearest examples")
