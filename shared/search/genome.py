"""A pipeline document read as a genome: which steps call a model, which labels they choose from, who refers to whom.

Documents are plain maps here (the canonical form of `shared.pipeline.document.Document`); nothing is changed in place."""

from __future__ import annotations

import copy
import json
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

PROMPTED_TYPES = ("claude", "gemini", "claude_smart", "claude_extract", "claude_robust", "claude_session")
"""Step types with one prompt and one answer."""

Genome = dict[str, Any]


def copied(document: Mapping[str, Any]) -> Genome:
    return copy.deepcopy(dict(document))


def steps_of(document: Mapping[str, Any]) -> list[dict[str, Any]]:
    """None where `steps` is only the name of a text, as a map of texts may have."""
    steps = document.get("steps", [])
    return steps if isinstance(steps, list) else []


def prompted_steps(document: Mapping[str, Any]) -> list[int]:
    """Positions of top-level steps that ask a model with a prompt of their own."""
    return [
        index
        for index, step in enumerate(steps_of(document))
        if step.get("type") in PROMPTED_TYPES and isinstance(step.get("prompt"), str)
    ]


def why_little_can_change(document: Mapping[str, Any]) -> str:
    """What keeps most edits from such a pipeline; empty where nothing does. Edits change prompts, what they show, whom they ask."""
    if not steps_of(document) or prompted_steps(document):
        return ""
    return (
        "no step at the top of the pipeline asks a model with a prompt, and nearly all edits change prompts, examples and models: "
        "evolve a pipeline that has such a step"
    )


def answering_step(document: Mapping[str, Any]) -> int | None:
    """The last prompted step that the outputs read, else the last prompted step."""
    positions = prompted_steps(document)
    text = json.dumps(document.get("outputs", {}))
    read = [index for index in positions if refers_to(text, steps_of(document)[index]["name"])]
    found = read or positions
    return found[-1] if found else None


def labels_of(step: Mapping[str, Any]) -> list[str]:
    """The first enumeration of texts in a step's answer schema; empty where it has none."""
    for node in _nodes(step.get("schema")):
        values = node.get("enum")
        if isinstance(values, list) and len(values) > 1 and all(isinstance(value, str) for value in values):
            return list(values)
    return []


def with_labels(step: Mapping[str, Any], labels: Sequence[str]) -> dict[str, Any]:
    """The step with its enumeration of texts in another order."""
    changed = copied(step)
    for node in _nodes(changed.get("schema")):
        if isinstance(node.get("enum"), list) and sorted(map(str, node["enum"])) == sorted(labels):
            node["enum"] = list(labels)
    return changed


def refers_to(text: str, step_name: str) -> bool:
    return re.search(rf"\bsteps\.{re.escape(step_name)}\b", text) is not None


def redirected(value: Any, old: str, new: str) -> Any:
    """A template, or maps and lists of them, with references to step `old` now to step `new`."""
    return _mapped(value, lambda text: re.sub(rf"\bsteps\.{re.escape(old)}\b", f"steps.{new}", text))


def replaced_text(value: Any, old: str, new: str) -> Any:
    return _mapped(value, lambda text: text.replace(old, new))


def free_name(document: Mapping[str, Any], wanted: str) -> str:
    taken = {step["name"] for step in steps_of(document)}
    return next(name for name in (wanted, *(f"{wanted}_{number}" for number in range(2, 999))) if name not in taken)


def answer_expression(document: Mapping[str, Any]) -> str | None:
    """The expression inside `outputs.answer` where it is one whole expression, as `steps.classify.result.label`."""
    match = re.fullmatch(r"\s*\{\{\s*(.*?)\s*\}\}\s*", str(document.get("outputs", {}).get("answer", "")))
    return match[1] if match and "}}" not in match[1] else None


def with_answer(document: Mapping[str, Any], template: str) -> dict[str, str]:
    """The outputs with another answer; callers rely on all others, so they stay."""
    outputs = dict(document.get("outputs", {}))
    name = next(iter(outputs)) if len(outputs) == 1 else "answer"
    return {**outputs, name: template}


def keeps_outputs(before: Mapping[str, Any], after: Mapping[str, Any]) -> bool:
    """Whether nobody who calls the pipeline misses an output."""
    return set(before.get("outputs", {})) <= set(after.get("outputs", {}))


def with_room(document: Mapping[str, Any]) -> Genome:
    """Limits raised to what the steps need at least, where the document states lower ones.

    Never more than that: a revision that may use more than the stable one is for people to decide."""
    changed = copied(document)
    limits = changed.get("limits")
    if isinstance(limits, dict):
        asking = [steps_of(changed)[index] for index in prompted_steps(changed)]
        needed = {"steps": len(steps_of(changed)), "calls": len(asking), "tokens": sum(map(_tokens_needed, asking))}
        limits.update({name: max(limits[name], least) for name, least in needed.items() if name in limits})
    return changed


def _tokens_needed(step: Mapping[str, Any]) -> int:
    """A generous guess: three characters a token, the answer, an item, and six examples where some are looked up."""
    looked_up = 600 if "{% for" in step["prompt"] else 0
    return len(step["prompt"]) // 3 + int(step.get("max_tokens", 256)) + 200 + looked_up


def _nodes(schema: Any) -> Iterator[dict[str, Any]]:
    if isinstance(schema, dict):
        yield schema
    children = schema.values() if isinstance(schema, dict) else schema if isinstance(schema, list) else ()
    for child in children:
        yield from _nodes(child)


def _mapped(value: Any, change: Callable[[str], str]) -> Any:
    if isinstance(value, str):
        return change(value)
    if isinstance(value, Mapping):
        return {key: _mapped(member, change) for key, member in value.items()}
    return [_mapped(member, change) for member in value] if isinstance(value, list | tuple) else value
