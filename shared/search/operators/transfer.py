"""Transfer from another domain: the steps that serve another task, with this task's instruction, inputs and labels in them."""

from __future__ import annotations

import random
from collections.abc import Mapping
from typing import Any, ClassVar

from shared.search.candidates import OperatorContext, Proposal
from shared.search.operators.borrowing import reshaped


class Transfer:
    name: ClassVar[str] = "transfer"
    weight: ClassVar[float] = 0.4

    def apply(self, document: Mapping[str, Any], context: OperatorContext, generator: random.Random) -> Proposal | None:
        if not context.donors:
            return None
        donor = generator.choice(context.donors)
        changed = reshaped(donor.document, document, context)
        if changed is None:
            return None
        text = f"steps of {donor.document.get('name')} ({donor.document.get('domain', 'general')})"
        return Proposal(changed, self.name, text, (donor.digest,))
