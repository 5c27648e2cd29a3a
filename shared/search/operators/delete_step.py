"""One step less: outputs that read it now read another step of the same kind, prompts show no looked-up examples any more."""

from __future__ import annotations

import json
import random
from collections.abc import Mapping
from dataclasses import replace
from typing import Any, ClassVar

from shared.search.candidates import OperatorContext, Proposal
from shared.search.genome import copied, redirected, refers_to, steps_of
from shared.search.prompts import read_prompt


class DeleteStep:
    name: ClassVar[str] = "delete_step"
    weight: ClassVar[float] = 0.5

    def apply(self, document: Mapping[str, Any], context: OperatorContext, generator: random.Random) -> Proposal | None:
        steps = steps_of(document)
        if len(steps) < 2:
            return None
        gone = generator.randrange(len(steps))
        changed = copied(document)
        removed = steps_of(changed).pop(gone)
        changed["steps"] = [_without_examples(step, removed["name"]) for step in steps_of(changed)]
        twin = _twin(changed, removed)
        if twin:
            changed["outputs"] = redirected(changed.get("outputs", {}), removed["name"], twin)
        if refers_to(json.dumps([changed["steps"], changed.get("outputs", {})]), removed["name"]):
            return None
        return Proposal(changed, self.name, f"without {removed['name']}")


def _without_examples(step: Mapping[str, Any], removed: str) -> dict[str, Any]:
    prompt = read_prompt(step["prompt"]) if isinstance(step.get("prompt"), str) else None
    if prompt is None or not refers_to(prompt.examples, removed):
        return dict(step)
    return {**step, "prompt": replace(prompt, examples="").text()}


def _twin(document: Mapping[str, Any], removed: Mapping[str, Any]) -> str:
    """The last other step with the same answer schema."""
    same = [step["name"] for step in steps_of(document) if "schema" in removed and step.get("schema") == removed["schema"]]
    return same[-1] if same else ""
