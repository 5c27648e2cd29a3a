"""Reflective rewrite: a model reads cases that went wrong and writes a new instruction (Agrawal et al. 2025, arXiv 2507.19457).

Here is the document that asks and the reading of its answer; running it is the caller's business. Failures are tolerated."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from shared.search.candidates import Failure, OperatorContext, Proposal
from shared.search.operators.edits import answer_text, answering_site, item_text, with_prompt
from shared.search.prompts import escape

NAME = "reflective_rewrite"
WEIGHT = 0.25
_MOST_FAILURES = 4
_LONGEST_INSTRUCTION = 1200
_SHORTEST_INSTRUCTION = 15
_ASK = """An instruction for a language model gave wrong answers. Write a better instruction for the same task.
Keep the task and the allowed answers. Be general: do not quote the cases. At most 80 words.

{% for case in mistakes %}Input: {{ case.input }}
Given: {{ case.given }}
Right: {{ case.right }}
{% endfor %}
Present instruction:
{{ instruction }}
"""


def rewriting_document(domain: str) -> dict[str, Any]:
    """A one-step pipeline; inputs `instruction` and `mistakes`."""
    schema = {
        "type": "object",
        "properties": {"instruction": {"type": "string", "maxLength": _LONGEST_INSTRUCTION}},
        "required": ["instruction"],
        "additionalProperties": False,
    }
    step = {"name": "rewrite", "type": "claude_extract", "prompt": _ASK, "schema": schema, "max_tokens": 256}
    return {
        "name": "reflective_rewrite",
        "description": "Rewrites one instruction from cases that went wrong.",
        "domain": domain,
        "inputs": {"instruction": {"type": "string"}, "mistakes": {"type": "array"}},
        "limits": {"seconds": 60, "steps": 2, "calls": 4, "tokens": 8000},
        "steps": [step],
        "outputs": {"instruction": "{{ steps.rewrite.result.instruction }}"},
    }


def rewriting_inputs(document: Mapping[str, Any], failures: Sequence[Failure]) -> dict[str, Any] | None:
    """None where there is no instruction to rewrite or nothing went wrong."""
    site = answering_site(document)
    if site is None or not failures:
        return None
    mistakes = [
        {"input": item_text(failure.case), "given": answer_text(failure.answer), "right": answer_text(failure.case.expected)}
        for failure in failures[:_MOST_FAILURES]
    ]
    return {"instruction": site.prompt.instruction, "mistakes": mistakes}


def rewriting_key(inputs: Mapping[str, Any]) -> str:
    return hashlib.sha256(json.dumps(inputs, sort_keys=True, default=str).encode()).hexdigest()[:32]


def rewritten(document: Mapping[str, Any], instruction: Any, context: OperatorContext) -> Proposal | None:
    """The document with the model's instruction; None where the answer is no usable text or forgets the labels."""
    site = answering_site(document)
    if site is None or not isinstance(instruction, str):
        return None
    text = instruction.strip()
    if not _SHORTEST_INSTRUCTION <= len(text) <= _LONGEST_INSTRUCTION:
        return None
    missing = [label for label in context.labels if label.casefold() not in text.casefold()]
    if missing:
        text = f"{text}\nAnswer with exactly one of: {', '.join(context.labels)}."
    changed = with_prompt(document, site.index, replace(site.prompt, instruction=escape(text)))
    return Proposal(changed, NAME, text[:200])
