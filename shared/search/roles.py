"""What a step is for, whatever it is called: steps of one role can stand in for each other."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, Literal

from shared.search.genome import answering_step, prompted_steps, refers_to, steps_of

Role = Literal["answers", "prepares", "checks", "computes", "stands apart"]


def role_of(document: Mapping[str, Any], index: int) -> Role:
    """`answers`: the outputs read it; `prepares`: a prompt reads it that leads to the answer; `checks`: it reads an answer."""
    steps = steps_of(document)
    if index not in prompted_steps(document):
        return "computes"
    answering = answering_step(document)
    if index == answering:
        return "checks" if _reads_an_answer(document, index) else "answers"
    readers = [step for step in steps if step is not steps[index] and refers_to(_text(step), steps[index]["name"])]
    if any(step.get("type") == "function" for step in readers):
        return "answers"
    return "prepares" if readers else "stands apart"


def with_role(document: Mapping[str, Any], role: Role) -> list[int]:
    return [index for index in range(len(steps_of(document))) if role_of(document, index) == role]


def _reads_an_answer(document: Mapping[str, Any], index: int) -> bool:
    steps = steps_of(document)
    ours = steps[index]
    return any(
        step.get("schema") == ours.get("schema") and "schema" in ours and refers_to(_text(ours), step["name"])
        for step in steps[:index]
    )


def _text(step: Mapping[str, Any]) -> str:
    return json.dumps({key: value for key, value in step.items() if key != "name"}, ensure_ascii=False)
