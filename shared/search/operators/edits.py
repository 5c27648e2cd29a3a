"""Edits that several operators share: the answering step, its prompt, examples as text."""

from __future__ import annotations

import json
import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from shared.events.values import Case
from shared.search.candidates import OperatorContext
from shared.search.genome import answering_step, copied, labels_of, steps_of
from shared.search.prompts import Prompt, escape, read_prompt

LONGEST_EXAMPLE = 400
"""Characters; longer cases are not shown in prompts."""


@dataclass(frozen=True)
class Site:
    """The step that gives the answer, with its prompt read as genes."""

    index: int
    step: Mapping[str, Any]
    prompt: Prompt
    labels: tuple[str, ...]


def answering_site(document: Mapping[str, Any]) -> Site | None:
    index = answering_step(document)
    if index is None:
        return None
    step = steps_of(document)[index]
    prompt = read_prompt(step["prompt"])
    return Site(index, step, prompt, tuple(labels_of(step))) if prompt else None


def with_prompt(document: Mapping[str, Any], index: int, prompt: Prompt) -> dict[str, Any]:
    changed = copied(document)
    steps_of(changed)[index]["prompt"] = prompt.text()
    return changed


def with_step(document: Mapping[str, Any], index: int, step: Mapping[str, Any]) -> dict[str, Any]:
    changed = copied(document)
    steps_of(changed)[index] = dict(step)
    return changed


def with_inserted(document: Mapping[str, Any], index: int, *steps: Mapping[str, Any]) -> dict[str, Any]:
    changed = copied(document)
    steps_of(changed)[index:index] = [dict(step) for step in steps]
    return changed


def example_text(case: Case, key: str) -> str:
    """One example as prompts show it, ending with its answer line; template marks in the data are escaped."""
    return escape(f"{item_text(case)}\n{key}: {answer_text(case.expected)}")


def item_text(case: Case) -> str:
    if len(case.input) == 1:
        return _plain(next(iter(case.input.values())))
    return "\n".join(f"{name}: {_plain(value)}" for name, value in case.input.items())


def answer_text(expected: Any) -> str:
    return _plain(expected)


def answer_key(context: OperatorContext) -> str:
    return "Label" if context.labels else "Answer"


def drawn_examples(context: OperatorContext, count: int, shown: Sequence[str], generator: random.Random) -> list[str]:
    """`count` examples that are not shown yet, labels in turn, in random order within a label."""
    key = answer_key(context)
    groups: dict[str, list[str]] = {}
    for case in context.shown:
        text = example_text(case, key)
        if len(text) <= LONGEST_EXAMPLE and text not in shown:
            groups.setdefault(answer_text(case.expected) if context.labels else "", []).append(text)
    for _, group in sorted(groups.items()):
        generator.shuffle(group)
    names = sorted(groups)
    generator.shuffle(names)
    drawn: list[str] = []
    while len(drawn) < count and any(groups.values()):
        drawn += [groups[name].pop() for name in names if groups[name]]
    return drawn[:count]


def framed(frame: str, site: Site) -> str:
    """The step's instruction in another phrasing. Not `str.format`: instructions may hold braces of their own."""
    return frame.replace("{labels}", escape(", ".join(site.labels))).replace("{core}", site.prompt.instruction)


def _plain(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
