"""A prompt read as genes: instruction, examples shown, item. Reading and writing round-trip.

The form is that of the seed templates under `pipelines/library/`: the instruction, then optionally `Examples:` with one example a
paragraph and `Now this one:`, and the item last, so that the common prefix of all calls stays in the provider's prompt cache."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

EXAMPLES_HEAD = "Examples:"
ITEM_HEAD = "Now this one:"
_EXAMPLES = re.compile(r"^(?:Similar e|E)xamples:[ \t]*$", re.MULTILINE)
_ITEM = re.compile(r"^Now this one:[ \t]*$", re.MULTILINE)
_DYNAMIC = re.compile(r"\{\{|\{%")
_ANSWER_LINE = re.compile(r"^(?:Label|Answer): .*$", re.MULTILINE)
_ESCAPED = re.compile(r"\{\{ '[{}]' \}\}")
_TEMPLATE_MARK = re.compile(r"\{(?=[{%#])|(?<=[}%#])\}")


@dataclass(frozen=True)
class Prompt:
    instruction: str
    item: str
    """Everything that is rendered from inputs and earlier steps."""
    examples: str = ""
    head: str = EXAMPLES_HEAD
    item_first: bool = False

    @property
    def shows_fixed_examples(self) -> bool:
        return bool(self.examples) and not is_dynamic(self.examples)

    def text(self) -> str:
        if self.item_first:
            return f"{self.item}\n\n{self.instruction}\n"
        if not self.examples:
            return f"{self.instruction}\n\n{self.item}\n"
        return f"{self.instruction}\n\n{self.head}\n{self.examples}\n\n{ITEM_HEAD}\n{self.item}\n"


def read_prompt(text: str) -> Prompt | None:
    """None where instruction and item cannot be told apart: such a prompt is left alone."""
    head, item = _EXAMPLES.search(text), _ITEM.search(text)
    if head and item and head.end() <= item.start():
        examples = text[head.end() : item.start()].strip()
        return _whole(Prompt(text[: head.start()].strip(), text[item.end() :].strip(), examples, head[0].strip()))
    paragraphs = [part.strip() for part in re.split(r"\n[ \t]*\n", text) if part.strip()]
    dynamic = [is_dynamic(part) for part in paragraphs]
    if True not in dynamic:
        return None
    first = dynamic.index(True)
    if first:
        return _whole(Prompt("\n\n".join(paragraphs[:first]), "\n\n".join(paragraphs[first:])))
    last = len(dynamic) - dynamic[::-1].index(True)
    return _whole(Prompt("\n\n".join(paragraphs[last:]), "\n\n".join(paragraphs[:last]), item_first=True))


def is_dynamic(text: str) -> bool:
    """Whether a text is rendered from names, not only an escaped brace."""
    return bool(_DYNAMIC.search(_ESCAPED.sub("", text)))


def escape(text: str) -> str:
    """Text as a template that renders to exactly that text: data never becomes a template."""
    return _TEMPLATE_MARK.sub(lambda match: "{{ '" + match[0] + "' }}", text)


def split_examples(block: str) -> list[str]:
    """Examples of a fixed block; each ends with its `Label:` or `Answer:` line."""
    found, start = [], 0
    for match in _ANSWER_LINE.finditer(block):
        found.append(block[start : match.end()].strip())
        start = match.end()
    return found


def join_examples(examples: Sequence[str]) -> str:
    return "\n\n".join(examples)


def _whole(prompt: Prompt) -> Prompt | None:
    complete = prompt.instruction and prompt.item and not is_dynamic(prompt.instruction)
    return prompt if complete else None
