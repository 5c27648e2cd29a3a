"""What can be counted about a revision: step sequences, prompt features, providers, parameters."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Literal, NamedTuple

FeatureKind = Literal["step_sequence", "prompt_feature", "provider", "parameter"]
LONGEST_SEQUENCE = 3
MODEL_FAMILIES = {"claude": "claude", "gemini": "gemini"}


class Feature(NamedTuple):
    kind: FeatureKind
    text: str


def features_of(document: Mapping[str, Any]) -> frozenset[Feature]:
    steps = list(walk(document.get("steps", ())))
    return frozenset([*_sequences(steps), *_prompt_features(steps), *_providers(steps), *_parameters(steps)])


def walk(steps: Sequence[Mapping[str, Any]]) -> Iterator[Mapping[str, Any]]:
    """Every step, inner ones of loops and switches after their parent."""
    for step in steps:
        yield step
        for key in ("steps", "then", "else", "default"):
            inner = step.get(key)
            if isinstance(inner, list):
                yield from walk([member for member in inner if isinstance(member, Mapping)])


def label_of(step: Mapping[str, Any]) -> str:
    """`function:nearest_examples` tells more than `function`."""
    return f"function:{step['function']}" if step.get("type") == "function" else str(step.get("type"))


def _sequences(steps: Sequence[Mapping[str, Any]]) -> Iterator[Feature]:
    labels = [label_of(step) for step in steps]
    for length in range(1, LONGEST_SEQUENCE + 1):
        for start in range(len(labels) - length + 1):
            yield Feature("step_sequence", " > ".join(labels[start : start + length]))


def _prompt_features(steps: Sequence[Mapping[str, Any]]) -> Iterator[Feature]:
    for step in steps:
        prompt = step.get("prompt")
        if not isinstance(prompt, str):
            continue
        shown = len(re.findall(r"(?m)^(?:Label|Answer): (?!\{\{)", prompt))
        if shown:
            yield Feature("prompt_feature", f"shows {shown} fixed examples")
            yield Feature("prompt_feature", "shows fixed examples")
        if "{% for" in prompt:
            yield Feature("prompt_feature", "shows examples looked up for the item")
        if step.get("schema"):
            yield Feature("prompt_feature", "answer constrained by a schema")
        if re.search(r"step by step", prompt, re.IGNORECASE):
            yield Feature("prompt_feature", "asks for reasoning first")
        if prompt.rstrip().endswith("}}"):
            yield Feature("prompt_feature", "the item comes last")


def _providers(steps: Sequence[Mapping[str, Any]]) -> Iterator[Feature]:
    for step in steps:
        for family in MODEL_FAMILIES:
            if str(step.get("type", "")).startswith(family):
                yield Feature("provider", family)


def _parameters(steps: Sequence[Mapping[str, Any]]) -> Iterator[Feature]:
    for step in steps:
        if isinstance(step.get("max_tokens"), int):
            yield Feature("parameter", f"max_tokens <= {_ceiling(step['max_tokens'])}")
        if isinstance(step.get("temperature"), int | float):
            yield Feature("parameter", "temperature 0" if step["temperature"] == 0 else "temperature above 0")


def _ceiling(tokens: int) -> int:
    return next((bound for bound in (32, 128, 512, 2048) if tokens <= bound), 8192)
