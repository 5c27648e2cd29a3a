"""A step at another place of the order, never before what it reads."""

from __future__ import annotations

import json
import random
from collections.abc import Mapping
from typing import Any, ClassVar

from shared.search.candidates import OperatorContext, Proposal
from shared.search.genome import copied, refers_to, steps_of


class ReorderSteps:
    name: ClassVar[str] = "reorder_steps"
    weight: ClassVar[float] = 0.2

    def apply(self, document: Mapping[str, Any], context: OperatorContext, generator: random.Random) -> Proposal | None:
        moves = [
            (start, end) for start in range(len(steps_of(document))) for end in range(start) if _may_stand(document, start, end)
        ]
        if not moves:
            return None
        start, end = generator.choice(moves)
        changed = copied(document)
        moved = steps_of(changed).pop(start)
        before = steps_of(changed)[end]["name"]
        steps_of(changed).insert(end, moved)
        return Proposal(changed, self.name, f"{moved['name']} before {before}")


def _may_stand(document: Mapping[str, Any], start: int, end: int) -> bool:
    """Whether the step reads none of those that would then come after it."""
    steps = steps_of(document)
    text = json.dumps(steps[start], ensure_ascii=False)
    after = steps[start].get("after") or []
    return not any(refers_to(text, step["name"]) or step["name"] in after for step in steps[end:start])
