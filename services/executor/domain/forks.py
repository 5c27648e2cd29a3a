"""What a forked run may take over from another one. Pure."""

from __future__ import annotations

from collections.abc import Collection, Mapping

from services.executor.domain.records import JournalEntry
from shared.errors import InvalidInputError, Problem
from shared.pipeline.document import Document, Step


def first_unfinished(document: Document, live: Mapping[str, JournalEntry]) -> str:
    """Raises `InvalidInputError` where every step finished well: then somebody must say from where."""
    for step in document.steps:
        if not _is_finished(step, live):
            return step.name
    raise InvalidInputError(
        Problem(path="from_step", reason="every step finished", suggestion=f"name one of {_names(document)} to fork from")
    )


def steps_before(document: Document, from_step: str) -> tuple[str, ...]:
    """Top-level steps that are taken over. Raises `InvalidInputError` for an unknown step."""
    names = [step.name for step in document.steps]
    if from_step not in names:
        raise InvalidInputError(Problem(path="from_step", reason=f"no step {from_step!r}", suggestion=f"one of {_names(document)}"))
    return tuple(names[: names.index(from_step)])


def check_same_steps(before: Document, after: Document, taken: Collection[str], live: Mapping[str, JournalEntry]) -> None:
    """Raises `InvalidInputError` where a step to take over did not finish, or is not the same in both documents."""
    known = {step.name: step for step in before.steps}
    for step in after.steps:
        if step.name not in taken:
            continue
        if step.name not in known or before.effective(known[step.name]) != after.effective(step):
            reason = f"step {step.name} is another one in revision {after.digest[:12]}"
        elif not _is_finished(step, live):
            reason = f"step {step.name} did not finish"
        else:
            continue
        raise InvalidInputError(Problem(path="from_step", reason=reason, suggestion=f"fork from {step.name} or an earlier step"))


def _is_finished(step: Step, live: Mapping[str, JournalEntry]) -> bool:
    entry = live.get(step.name)
    if entry is None or entry.result is None:
        return False
    return entry.result.status != "failed" or step.on_error == "continue"


def _names(document: Document) -> str:
    return ", ".join(step.name for step in document.steps)
