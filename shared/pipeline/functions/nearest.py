"""`nearest_examples`: the labelled examples most like a text, by words and parts of words; no model, no network."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from shared.errors import InvalidInputError
from shared.pipeline.functions.similarity import index_of
from shared.pipeline.functions.spec import FunctionSpec, parameters

MAX_EXAMPLES = 5000
_TEXT_FIELDS = ("text", "input", "question", "query", "prompt")
_ANSWER_FIELDS = frozenset(("label", "expected", "output", "answer", "id", "tags", "split"))


def nearest_examples(
    examples: Sequence[Mapping[str, Any]],
    query: Any,
    k: int = 5,
    field: str | None = None,
    order: str = "nearest_first",
    per_label: int | None = None,
) -> list[dict[str, Any]]:
    """The `k` nearest examples, each as it was given plus `similarity` in [0, 1] (cosine, 4 digits).

    An example equal to the query is an example like any other. Ties keep the order of `examples`. `per_label` bounds how many
    examples of one label (`label`, `expected`, `output` or `answer`) are taken."""
    wanted = _text_of(query, field) if isinstance(query, Mapping) else str(query)
    similarities = index_of(tuple(_text_of(example, field) for example in examples)).similarities(wanted)
    ranked = sorted(range(len(examples)), key=lambda index: (-similarities[index], index))
    chosen = _spread(examples, ranked, k, per_label)
    found = [{**examples[index], "similarity": round(similarities[index], 4)} for index in chosen]
    return found if order == "nearest_first" else found[::-1]


def _spread(examples: Sequence[Mapping[str, Any]], ranked: list[int], k: int, per_label: int | None) -> list[int]:
    if per_label is None:
        return ranked[:k]
    taken: dict[str, int] = {}
    chosen: list[int] = []
    for index in ranked:
        label = _label_of(examples[index])
        if taken.get(label, 0) < per_label:
            taken[label] = taken.get(label, 0) + 1
            chosen.append(index)
        if len(chosen) == k:
            break
    return chosen


def _label_of(example: Mapping[str, Any]) -> str:
    for name in ("label", "expected", "output", "answer"):
        if name in example:
            return json.dumps(example[name], sort_keys=True)
    raise InvalidInputError("nearest_examples: `per_label` needs a `label`, `expected`, `output` or `answer` in every example")


def _text_of(example: Mapping[str, Any], field: str | None) -> str:
    """The named field, else the usual text field, else every field that is no answer."""
    if field is not None:
        if field not in example:
            raise InvalidInputError(f"nearest_examples: an example lacks the field `{field}`")
        return _flat(example[field])
    for name in _TEXT_FIELDS:
        if name in example:
            return _flat(example[name])
    return _flat({name: value for name, value in example.items() if name not in _ANSWER_FIELDS})


def _flat(value: Any) -> str:
    if isinstance(value, str):
        return value
    if isinstance(value, Mapping):
        return "\n".join(_flat(each) for each in value.values())
    return json.dumps(value, ensure_ascii=False)


NEAREST_EXAMPLES = FunctionSpec(
    name="nearest_examples",
    description="The k labelled examples most similar to a text, nearest first, each with its similarity.",
    parameters=parameters(
        {
            "examples": {"type": "array", "items": {"type": "object"}, "minItems": 1, "maxItems": MAX_EXAMPLES},
            "query": {"type": ["string", "number", "object"], "description": "A text, or a map shaped like the examples."},
        },
        {
            "k": {"type": "integer", "minimum": 1, "maximum": 100, "default": 5},
            "field": {"type": "string", "description": "Field to compare; default: text, input, question, query or prompt."},
            "order": {"enum": ["nearest_first", "nearest_last"], "default": "nearest_first"},
            "per_label": {"type": "integer", "minimum": 1, "description": "At most so many examples of one label."},
        },
    ),
    cost_class="light",
    pure=nearest_examples,
)
