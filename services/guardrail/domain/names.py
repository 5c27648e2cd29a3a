"""The names that a policy's rules may use, with their types: what is not listed here cannot stand in a rule."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

NameType = Literal["string", "bool", "int", "double", "strings"]

NAMES: Mapping[str, NameType] = {
    "change.kind": "string",
    "change.pipeline": "string",
    "change.domain": "string",
    "change.author": "string",
    "change.author_verified": "bool",
    "change.author_fault": "string",
    "change.deploy": "bool",
    "change.new_pipeline": "bool",
    "change.replaces": "bool",
    "change.meta": "bool",
    "change.maturity": "string",
    "change.maturity_before": "string",
    "change.raises": "bool",
    "change.name_taken": "bool",
    "change.dataset": "string",
    "change.dataset_changed": "bool",
    "facts.step_types": "strings",
    "facts.providers": "strings",
    "facts.functions": "strings",
    "facts.models": "strings",
    "facts.nested": "strings",
    "facts.nested_maturities": "strings",
    "facts.steps": "int",
    "facts.estimated_calls": "int",
    "facts.estimated_tokens": "int",
    "facts.prompt_characters": "int",
    "diff.kinds": "strings",
    "diff.lines": "strings",
    "risk.score": "double",
    "risk.class": "string",
    "risk.reasons": "strings",
    "evidence.kinds": "strings",
    "evidence.score": "double",
    "evidence.cases": "int",
    "evidence.gate": "string",
    "budget.seconds": "double",
    "budget.steps": "int",
    "budget.calls": "int",
    "budget.tokens": "int",
    "budget.cost_usd": "double",
    "budget.depth": "int",
    "budget.concurrency": "int",
    "budget.cpu_seconds": "double",
    "budget.memory_mb": "int",
}
"""Dotted name -> type. Whoever adds a fact that rules may see adds its name here and its value in `judging.policy_names`."""
ABSENT: Mapping[NameType, Any] = {"string": "", "bool": False, "int": 0, "double": 0.0, "strings": []}
"""What a name is where a change has nothing of the sort: a policy has no steps."""


def flat(names: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    """`{"change": {"kind": ...}}` -> `{"change.kind": ...}`."""
    return {f"{root}.{name}": value for root, fields in names.items() for name, value in fields.items()}


def completed(names: Mapping[str, Mapping[str, Any]]) -> dict[str, dict[str, Any]]:
    """All names of the table, absent ones with the value that says so."""
    given: dict[str, dict[str, Any]] = {}
    for dotted, kind in NAMES.items():
        root, name = dotted.split(".")
        given.setdefault(root, {})[name] = names.get(root, {}).get(name, ABSENT[kind])
    return given
