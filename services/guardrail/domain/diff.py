"""What a change changes: a structural diff of two revisions, told as kinds that carry risk and as lines that people read."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from services.guardrail.domain.bounds import Bounds, bounds_of, widened_limits, widened_steps
from services.guardrail.domain.hidden_text import hidden
from services.guardrail.domain.leaves import ORDER, Path, leaves, line
from services.guardrail.domain.risk import RISK, DiffKind, Risk, ordered, risk_of_kinds
from shared.pipeline.document import Document, Limits
from shared.pipeline.facts import DocumentFacts

__all__ = ["RISK", "Diff", "DiffKind", "Revision", "Risk", "compare", "compare_values", "risk_of"]

MAX_LINES = 200
_TEXT_KEYS = frozenset(("prompt", "system", "prompts", "tasks", "description", "simplified_prompt"))
_BY_KEY: tuple[tuple[frozenset[str], DiffKind], ...] = (
    (frozenset(("schema",)), "less_validation"),
    (frozenset(("on_error", "on_item_error")), "error_handling"),
    (frozenset(("after", "when")), "edges"),
    (frozenset(("retry",)), "retry"),
    (_TEXT_KEYS, "prompt_text"),
)
"""Keys of steps and what a change below them is, heaviest first, so that no key inside hides a heavier one above."""


@dataclass(frozen=True)
class Diff:
    kinds: tuple[DiffKind, ...]
    lines: tuple[str, ...]
    """`+ path: new`, `- path: old` or `~ path: old -> new`, values cut to 80 characters around their difference."""


@dataclass(frozen=True)
class Revision:
    document: Document
    facts: DocumentFacts


def compare(old: Revision | None, new: Revision, *, template: bool = False, meta: bool = False, new_dataset: bool = False) -> Diff:
    """Diff of `new` against what serves now (`old`), or against nothing."""
    kinds: set[DiffKind] = set(_sensitive(old, new))
    if meta:
        kinds.add("meta_pipeline")
    after = leaves(new.document.canonical())
    if old is None:
        kinds.add("new_template" if template else "new_pipeline")
        if any(hidden(text) for text in after.values()):
            kinds.add("hidden_text")
        return Diff(ordered(kinds), (f"+ {new.document.name}: {len(new.document.steps)} steps",))
    if new_dataset:
        kinds.add("new_dataset")
    before = leaves(old.document.canonical())
    paths = [path for path in sorted({*before, *after}) if before.get(path) != after.get(path)]
    kinds.update(_kind_of(path, before, after) for path in paths if path[0].name != "limits")
    kinds.update(_hiding(paths, before, after))
    kinds.update(_limit_kinds(old.document.limits, new.document.limits))
    kinds.update(_bound_kinds(bounds_of(old.document), bounds_of(new.document)))
    kinds.update(_new_uses(old.facts, new.facts))
    return Diff(ordered(kinds), _lines(paths, before, after))


def compare_values(old: Mapping[str, Any], new: Mapping[str, Any]) -> tuple[str, ...]:
    """Lines of the difference of any two JSON maps."""
    before, after = leaves(old), leaves(new)
    return _lines([path for path in sorted({*before, *after}) if before.get(path) != after.get(path)], before, after)


def risk_of(diff: Diff) -> Risk:
    return risk_of_kinds(diff.kinds)


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


def _bound_kinds(old: Bounds, new: Bounds) -> Iterator[DiffKind]:
    if widened_limits(old, new):
        yield "wider_limits"
    if widened_steps(old, new):
        yield "wider_step_bounds"
    if old.inside != new.inside:
        yield "nested_change"


def _kind_of(path: Path, before: Mapping[Path, str], after: Mapping[Path, str]) -> DiffKind:
    root = path[0].name
    if root == "domain":
        return "new_domain"
    if root in ("inputs", "outputs", "name"):
        return "contract"
    if root == "execution":
        return "edges"
    if path[-1] == ORDER:
        return "edges" if path in before and path in after and _is_reordered(before[path], after[path]) else "parameter"
    last_step = max((index for index, part in enumerate(path) if part.kind == "step"), default=-1)
    keys = {part.name for part in path[last_step + 1 :] if part.kind == "key"}
    if "schema" in keys and not _had_schema(path, before):
        return "parameter"  # answers were not checked at all
    if path[-1].kind == "at" and _members(path, after) and _members(path, after) <= _members(path, before):
        keys -= {"schema"}  # the same permitted values in another order, or fewer of them
    if path[-1].name == "type" and (path in before) != (path in after) and not keys & {"schema", "on_error"}:
        return "step_added" if path in after else "step_removed"
    return next((kind for names, kind in _BY_KEY if keys & names), "parameter")


def _members(path: Path, where: Mapping[Path, str]) -> set[str]:
    """The texts of the list of permitted values that the path leads into; empty where it is no such list."""
    if len(path) < 2 or path[-2].name != "enum":
        return set()
    return {text for each, text in where.items() if each[:-1] == path[:-1]}


def _had_schema(path: Path, before: Mapping[Path, str]) -> bool:
    below = path[: next(index for index, part in enumerate(path) if part.name == "schema") + 1]
    return any(each[: len(below)] == below for each in before)


def _is_reordered(old: str, new: str) -> bool:
    """Whether steps that both have stand in another order."""
    before, after = old.strip('"').split(" "), new.strip('"').split(" ")
    return [name for name in before if name in set(after)] != [name for name in after if name in set(before)]


def _hiding(paths: list[Path], before: Mapping[Path, str], after: Mapping[Path, str]) -> Iterator[DiffKind]:
    for path in paths:
        spoken = "".join(part.name for part in path)
        if hidden(after.get(path, "")) - hidden(before.get(path, "")) or (path not in before and hidden(spoken)):
            yield "hidden_text"


def _lines(paths: list[Path], before: Mapping[Path, str], after: Mapping[Path, str]) -> tuple[str, ...]:
    shown = [line(path, before.get(path), after.get(path)) for path in paths[:MAX_LINES]]
    more = len(paths) - MAX_LINES
    return (*shown, f"… and {more} more differences") if more > 0 else tuple(shown)
