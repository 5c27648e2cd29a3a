"""Making somebody else's pipeline or template do this task: its shape, our inputs, labels, instruction and examples."""

from __future__ import annotations

import json
import random
import re
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from shared.errors import InvalidInputError
from shared.pipeline.blanks import fill
from shared.search.candidates import OperatorContext
from shared.search.genome import copied, labels_of, prompted_steps, steps_of
from shared.search.operators.answer_format import object_of, shape_of
from shared.search.operators.edits import Site, answering_site, drawn_examples
from shared.search.operators.nearest_examples import example_pool
from shared.search.prompts import Prompt, escape, join_examples, read_prompt

_TAKEN = ("steps", "outputs", "execution")
_KEPT = ("name", "description", "domain", "inputs", "limits", "defaults")
_READS_STEPS = re.compile(r"\{\{[^}]*\bsteps\.|\{%[^%]*\bsteps\.")


def filled_template(
    template: Mapping[str, Any], document: Mapping[str, Any], context: OperatorContext, generator: random.Random
) -> dict[str, Any] | None:
    """The template with its blanks (`[[ name ]]`) filled for this task; None where it asks for something that the task has not."""
    site = answering_site(document)
    if site is None or _READS_STEPS.search(site.prompt.item):
        return None
    labels = site.labels or context.labels
    blanks: dict[str, Any] = {"instruction": site.prompt.instruction, "item": site.prompt.item}
    blanks |= {f"examples_{count}": join_examples(drawn_examples(context, count, (), generator)) for count in (4, 8)}
    blanks["pool"] = example_pool(context, generator)
    if labels:
        blanks |= {"labels": list(labels), "labels_text": escape(", ".join(labels))}
    shape = {"enum": list(labels)} if labels else shape_of([case.expected for case in context.shown]) or {"type": "string"}
    blanks["answer_schema"] = object_of({"answer": shape})
    try:
        filled: dict[str, Any] = fill(dict(template), blanks)
    except InvalidInputError:
        return None
    return _as_ours(filled, document)


def reshaped(donor: Mapping[str, Any], document: Mapping[str, Any], context: OperatorContext) -> dict[str, Any] | None:
    """The donor's steps for this task. None where either has no answering step that can be read, or shows looked-up examples."""
    ours, theirs = answering_site(document), answering_site(donor)
    if ours is None or theirs is None or _READS_STEPS.search(ours.prompt.item) or bool(ours.labels) != bool(theirs.labels):
        return None
    changed = _as_ours(donor, document)
    for index in prompted_steps(donor):
        step = steps_of(changed)[index]
        prompt = read_prompt(step["prompt"])
        if prompt is None or _READS_STEPS.search(prompt.examples):
            return None
        adapted = _for_us(step, prompt, ours, theirs)
        if _misses_fields(step, adapted, donor):
            return None
        changed["steps"][index] = adapted
    return changed


def _misses_fields(before: Mapping[str, Any], after: Mapping[str, Any], donor: Mapping[str, Any]) -> bool:
    """Whether something reads a field of this step's answer that our schema does not have."""
    ours, theirs = (set((step.get("schema") or {}).get("properties") or ()) for step in (after, before))
    text = json.dumps(donor)
    return any(re.search(rf"\bsteps\.{re.escape(before['name'])}\.result\.{re.escape(field)}\b", text) for field in theirs - ours)


def _for_us(step: Mapping[str, Any], prompt: Prompt, ours: Site, theirs: Site) -> dict[str, Any]:
    """Our item where theirs stood, what they read of other steps as it was; examples of their task go."""
    read = [part for part in re.split(r"\n[ \t]*\n", prompt.item) if _READS_STEPS.search(part)]
    answers = labels_of(step) == list(theirs.labels) if theirs.labels else step["name"] == theirs.step["name"]
    added = prompt.instruction.removeprefix(theirs.prompt.instruction).strip() if step["name"] != theirs.step["name"] else ""
    instruction = f"{ours.prompt.instruction}\n{added}".strip() if added else ours.prompt.instruction
    adapted = replace(prompt, instruction=instruction, item="\n\n".join([ours.prompt.item, *read]), examples="")
    changed = {**step, "prompt": adapted.text()}
    if answers and "schema" in changed and "schema" in ours.step:
        changed["schema"] = copied(ours.step["schema"])
    return changed


def _as_ours(donor: Mapping[str, Any], document: Mapping[str, Any]) -> dict[str, Any]:
    """The donor's steps and outputs under our name, inputs and limits."""
    taken = {key: copied(donor)[key] for key in _TAKEN if key in donor}
    return taken | {key: copied(document)[key] for key in _KEPT if key in document}
