"""Filling a template's blanks for one task. `[[ blank ]]` is ours; `{{ name }}` is left for the run."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from services.generator.domain.task import Task, balanced
from shared.events.values import Case
from shared.pipeline.blanks import fill as fill

POOL_SIZE = 120
LONGEST_EXAMPLE = 400


LEARNED = "learned:"
"""Of a learned template's origin; its digest follows."""


@dataclass(frozen=True)
class Template:
    """A pipeline document with blanks. `origin` says where it is from: `library:<name>` or `learned:<digest>`."""

    name: str
    origin: str
    document: Mapping[str, Any]

    def serves(self, kind: str) -> bool:
        return self.name.startswith((f"{kind}_", "plain_"))


def blanks_of(task: Task) -> dict[str, Any]:
    """Values of every blank for this task; text that comes from people is escaped, so that it is never read as a template."""
    blanks: dict[str, Any] = {
        "instruction": escape(task.requirements),
        "item": item_expression(task.input_names),
        "answer_schema": dict(task.answer_schema),
        "examples_4": examples_text(task, 4),
        "examples_8": examples_text(task, 8),
        "pool": [{"text": _item_text(case), "label": _answer_text(case.expected)} for case in balanced(task.shown)[:POOL_SIZE]],
    }
    if task.kind == "classify":
        blanks["labels"] = list(task.labels)
        blanks["labels_text"] = escape(", ".join(task.labels))
    return blanks


def instantiate(template: Template, blanks: Mapping[str, Any], *, name: str, description: str, domain: str) -> dict[str, Any]:
    """The template's document with all blanks filled, under the new name. Raises `InvalidInputError` on a blank without a value."""
    document = fill(dict(template.document), blanks)
    document.update(name=name, description=description, domain=domain)
    return dict(document)


def escape(text: str) -> str:
    """Text as a template that renders to exactly that text."""
    return re.sub(r"\{(?=[{%#])|(?<=[}%#])\}", lambda match: "{{ '" + match[0] + "' }}", text)


def item_expression(names: Sequence[str]) -> str:
    if len(names) == 1:
        return f"{{{{ {names[0]} }}}}"
    return "\n".join(f"{name}: {{{{ {name} }}}}" for name in names)


def examples_text(task: Task, count: int) -> str:
    """`count` shown cases, classes in turn, one blank line apart; long ones are passed over."""
    fitting = [case for case in balanced(task.shown) if len(_item_text(case)) <= LONGEST_EXAMPLE]
    key = "Label" if task.kind == "classify" else "Answer"
    return escape("\n\n".join(f"{_item_text(case)}\n{key}: {_answer_text(case.expected)}" for case in fitting[:count]))


def _item_text(case: Case) -> str:
    if len(case.input) == 1:
        return _plain(next(iter(case.input.values())))
    return "\n".join(f"{name}: {_plain(value)}" for name, value in case.input.items())


def _plain(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def _answer_text(expected: Any) -> str:
    return expected if isinstance(expected, str) else json.dumps(expected, ensure_ascii=False)


def learned_digest(origin: str) -> str | None:
    """What a pipeline descends from that was made of a learned template: it is quarantined with it."""
    return origin.removeprefix(LEARNED) if origin.startswith(LEARNED) else None
