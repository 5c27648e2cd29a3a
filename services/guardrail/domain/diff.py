"""What a change changes, and how much risk that is: a structural diff of two revisions, one table of weights."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Literal

from shared.pipeline.document import Document, Limits
from shared.pipeline.facts import DocumentFacts

DiffKind = Literal[
    "prompt_text",
    "parameter",
    "contract",
    "step_added",
    "step_removed",
    "new_step_type",
    "new_provider",
    "new_model",
    "new_function",
    "nested_pipeline",
    "wider_limits",
    "new_domain",
    "file_access",
    "deployment_step",
    "new_pipeline",
    "new_template",
    "meta_pipeline",
]
RISK: Mapping[DiffKind, tuple[float, str]] = {
    "prompt_text": (0.10, "prompt text changes"),
    "parameter": (0.10, "parameters change"),
    "new_template": (0.10, "a new template"),
    "step_added": (0.15, "steps are added"),
    "step_removed": (0.15, "steps are removed"),
    "new_pipeline": (0.20, "a new pipeline"),
    "new_step_type": (0.25, "uses a step type that it did not use"),
    "contract": (0.30, "inputs or outputs change, which callers rely on"),
    "new_model": (0.30, "names a model that it did not name"),
    "new_provider": (0.40, "calls a provider that it did not call"),
    "new_function": (0.40, "calls a function that it did not call"),
    "nested_pipeline": (0.40, "runs other pipelines that it did not run"),
    "wider_limits": (0.40, "may use more than before"),
    "new_domain": (0.50, "moves to another domain"),
    "file_access": (0.50, "reads or writes files"),
    "deployment_step": (0.60, "proposes deployments by itself"),
    "meta_pipeline": (0.80, "is one of the system's own pipelines"),
}
"""Kind -> (weight, reason). Weights are judged chances of harm, joined as if independent: 1 - product of (1 - weight)."""
_TEXT_KEYS = frozenset(("prompt", "system", "prompts", "description", "simplified_prompt"))
_SHOWN_CHARACTERS = 80
MAX_LINES = 200


@dataclass(frozen=True)
class Diff:
    kinds: tuple[DiffKind, ...]
    lines: tuple[str, ...]
    """`+ path: new`, `- path: old` or `~ path: old -> new`, values cut to 80 characters."""


@dataclass(frozen=True)
class Risk:
    score: float
    """In [0, 1]."""
    reasons: tuple[str, ...]
    """Heaviest first."""


@dataclass(frozen=True)
class Revision:
    document: Document
    facts: DocumentFacts


def compare(old: Revision | None, new: Revision, *, template: bool = False, meta: bool = False) -> Diff:
    """Diff of `new` against what serves now (`old`), or against nothing."""
    kinds: set[DiffKind] = set(_sensitive(old, new))
    if meta:
        kinds.add("meta_pipeline")
    if old is None:
        kinds.add("new_template" if template else "new_pipeline")
        return Diff(_ordered(kinds), (f"+ {new.document.name}: {len(new.document.steps)} steps",))
    before, after = flatten(old.document.canonical()), flatten(new.document.canonical())
    paths = [path for path in sorted({*before, *after}) if before.get(path) != after.get(path)]
    kinds.update(_kind_of(path, before, after) for path in paths if not path.startswith("limits."))
    kinds.update(_limit_kinds(old.document.limits, new.document.limits))
    kinds.update(_new_uses(old.facts, new.facts))
    return Diff(_ordered(kinds), tuple(_line(path, before, after) for path in paths[:MAX_LINES]))


def risk_of(diff: Diff) -> Risk:
    weights = [RISK[kind] for kind in diff.kinds]
    score = 1.0 - math.prod(1.0 - weight for weight, _ in weights)
    return Risk(round(score, 4), tuple(reason for _, reason in weights))


def flatten(value: Any, path: str = "") -> dict[str, Any]:
    """Leaves by dotted path. Lists of named things (steps) are keyed by name, so that an insertion moves nothing else."""
    if isinstance(value, Mapping) and value:
        entries = [(f"{path}.{key}" if path else str(key), each) for key, each in value.items()]
    elif isinstance(value, list) and value and all(isinstance(each, Mapping) and "name" in each for each in value):
        entries = [(f"{path}.{each['name']}", each) for each in value]
        entries.append((f"{path}.order", " ".join(str(each["name"]) for each in value)))
    elif isinstance(value, list) and value:
        entries = [(f"{path}[{index}]", each) for index, each in enumerate(value)]
    else:
        return {path: value}
    return {leaf: found for inner, each in entries for leaf, found in flatten(each, inner).items()}


def _sensitive(old: Revision | None, new: Revision) -> Iterator[DiffKind]:
    """Uses that matter whether the pipeline is new or not, unless it had them before."""
    had = set(old.facts.step_types) if old else set()
    now = set(new.facts.step_types) - had
    if "file_ops" in now:
        yield "file_access"
    if "pipeline_deployer" in now:
        yield "deployment_step"
    if set(new.facts.nested) - set(old.facts.nested if old else ()):
        yield "nested_pipeline"


def _new_uses(old: DocumentFacts, new: DocumentFacts) -> Iterator[DiffKind]:
    if set(new.step_types) - set(old.step_types):
        yield "new_step_type"
    if set(new.families) - set(old.families):
        yield "new_provider"
    if set(new.models) - set(old.models):
        yield "new_model"
    if set(new.functions) - set(old.functions):
        yield "new_function"


def _limit_kinds(old: Limits, new: Limits) -> Iterator[DiffKind]:
    before, after = old.model_dump(), new.model_dump()
    if any(after[name] > before[name] for name in before):
        yield "wider_limits"
    if any(after[name] < before[name] for name in before):
        yield "parameter"


def _kind_of(path: str, before: Mapping[str, Any], after: Mapping[str, Any]) -> DiffKind:
    root, last = path.split(".", 1)[0], path.rsplit(".", 1)[-1].split("[", 1)[0]
    if path == "domain":
        return "new_domain"
    if root in ("inputs", "outputs", "name"):
        return "contract"
    if last == "type" and path.startswith("steps.") and (path in before) != (path in after) and "schema" not in path.split("."):
        return "step_added" if path in after else "step_removed"
    return "prompt_text" if last in _TEXT_KEYS else "parameter"


def _line(path: str, before: Mapping[str, Any], after: Mapping[str, Any]) -> str:
    if path not in before:
        return f"+ {path}: {_shown(after[path])}"
    if path not in after:
        return f"- {path}: {_shown(before[path])}"
    return f"~ {path}: {_shown(before[path])} -> {_shown(after[path])}"


def _shown(value: Any) -> str:
    text = json.dumps(value, ensure_ascii=False)
    return text if len(text) <= _SHOWN_CHARACTERS else f"{text[: _SHOWN_CHARACTERS - 1]}…"


def _ordered(kinds: set[DiffKind]) -> tuple[DiffKind, ...]:
    return tuple(sorted(kinds, key=lambda kind: (-RISK[kind][0], kind)))
