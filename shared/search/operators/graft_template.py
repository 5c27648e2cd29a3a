"""Graft of a template, learned or from the library: its steps with this task's instruction, inputs, labels and examples."""

from __future__ import annotations

import random
from collections.abc import Mapping
from typing import Any, ClassVar

from shared.search.candidates import OperatorContext, Proposal
from shared.search.operators.borrowing import filled_template


class GraftTemplate:
    name: ClassVar[str] = "graft_template"
    weight: ClassVar[float] = 0.4

    def apply(self, document: Mapping[str, Any], context: OperatorContext, generator: random.Random) -> Proposal | None:
        if not context.templates:
            return None
        template = generator.choice(context.templates)
        filled = filled_template(template.document, document, context, generator)
        if filled is None:
            return None
        return Proposal(filled, self.name, f"steps of the template {template.document.get('name')}", (template.digest,))
