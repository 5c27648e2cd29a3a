"""The labels in another order, in the schema and in the text: models lean to what stands first or last."""

from __future__ import annotations

import random
from collections.abc import Mapping
from dataclasses import replace
from typing import Any, ClassVar

from shared.search.candidates import OperatorContext, Proposal
from shared.search.genome import with_labels
from shared.search.operators.edits import answering_site, with_step


class LabelOrder:
    name: ClassVar[str] = "label_order"
    weight: ClassVar[float] = 0.8

    def apply(self, document: Mapping[str, Any], context: OperatorContext, generator: random.Random) -> Proposal | None:
        site = answering_site(document)
        if site is None or len(site.labels) < 2:
            return None
        order = list(site.labels)
        generator.shuffle(order)
        step = with_labels(site.step, order)
        instruction = site.prompt.instruction.replace(", ".join(site.labels), ", ".join(order))
        step["prompt"] = replace(site.prompt, instruction=instruction).text()
        if step == site.step:
            return None
        return Proposal(with_step(document, site.index, step), self.name, f"labels as {', '.join(order)}")
