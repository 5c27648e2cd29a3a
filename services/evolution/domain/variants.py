"""Variants of a pipeline as candidates of an experiment: of its name and domain, different from each other. Pure."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from copy import deepcopy
from dataclasses import dataclass
from typing import Any, Literal

from shared.errors import InvalidInputError, Problem
from shared.events.experiments import Variant
from shared.events.values import TrialScope
from shared.pipeline.document import Document
from shared.pipeline.facts import document_facts
from shared.pipeline.loading import load_document
from shared.pipeline.scope import check_scope
from shared.search.candidates import Candidate
from shared.search.genome import answering_step, with_room
from shared.search.menu import candidate_of

Origin = Literal["file", "generated", "stable"]
STABLE = "stable"
OPERATOR = "experiment"
_MOST_TOKENS = 96
"""Of an answer of a step before the last one; the last one keeps the stable revision's bounds."""


@dataclass(frozen=True)
class Entrant:
    """One variant; `candidate` None where it cannot take part, `problems` say why."""

    label: str
    origin: Origin
    candidate: Candidate | None
    problems: tuple[Problem, ...] = ()


def entrants(stable: Document, variants: Sequence[Variant], origin: Origin) -> list[Entrant]:
    """Each checked on its own, in their order."""
    return [_entrant(stable, variant, origin) for variant in variants]


def told_apart(found: Sequence[Entrant], stable: Document) -> list[Entrant]:
    """The same, but a variant that is the stable revision, or another variant under another label, takes no part."""
    known: dict[str, str] = {stable.digest: "the stable revision"}
    names: set[str] = {STABLE}
    checked: list[Entrant] = []
    for number, entrant in enumerate(found):
        problems = _likeness(entrant, f"variants[{number}]", names, known)
        checked.append(_without(entrant, *problems) if problems else entrant)
        names.add(entrant.label)
        if entrant.candidate is not None and not problems:
            known[entrant.candidate.digest] = entrant.label
    return checked


def _likeness(entrant: Entrant, path: str, names: set[str], known: Mapping[str, str]) -> list[Problem]:
    found = []
    if entrant.label in names:
        reason = f"the label {entrant.label!r} is taken"
        found.append(Problem(path=path, reason=reason, suggestion="give each its own"))
    if entrant.candidate is not None and entrant.candidate.digest in known:
        reason = f"{entrant.label} is the same as {known[entrant.candidate.digest]}"
        found.append(Problem(path=path, reason=reason, suggestion="change something in it"))
    return found


def within(found: Sequence[Entrant], scope: TrialScope) -> list[Entrant]:
    """The same, but what the trial scope does not allow takes no part."""
    return [_within(entrant, scope) for entrant in found]


def ground(stable: Mapping[str, Any], proposal: Any) -> dict[str, Any]:
    """A model's `{name, steps: [{name, type, prompt}]}` as a revision of the pipeline: its inputs, limits, outputs and the bounds
    of its answering step stay, the prompts are the model's. Raises `ValueError` where it is no such proposal."""
    steps = proposal.get("steps") if isinstance(proposal, Mapping) else None
    if not isinstance(steps, Sequence) or isinstance(steps, str) or not 1 <= len(steps) <= 4:
        raise ValueError("it has no list of one to four steps")
    if any(not isinstance(step, Mapping) or not str(step.get("prompt") or "").strip() for step in steps):
        raise ValueError("one of its steps has no prompt")
    document = deepcopy(dict(stable))
    place = answering_step(document)
    if place is None:
        raise ValueError("the stable revision has no step with a prompt that gives the answer")
    names = tuple(document.get("inputs", {}))
    before = [_step(number, step) for number, step in enumerate(steps[:-1])]
    last = {**document["steps"][place], "prompt": _asking(str(steps[-1]["prompt"]), names, before)}
    document["steps"] = [*document["steps"][:place], *before, last, *document["steps"][place + 1 :]]
    return with_room(document)


def _step(number: int, step: Mapping[str, Any]) -> dict[str, Any]:
    name = re.sub(r"[^a-z0-9_]+", "_", str(step.get("name", "")).lower()).strip("_")[:40]
    name = name if name and name[0].isalpha() else "step"
    return {"name": f"{name}_{number + 1}", "type": "claude", "prompt": str(step["prompt"]).strip(), "max_tokens": _MOST_TOKENS}


def _asking(prompt: str, inputs: Sequence[str], before: Sequence[Mapping[str, Any]]) -> str:
    """With what it forgot to mention: the steps before it and the inputs."""
    notes = [f"Notes:\n{{{{ steps.{step['name']}.text }}}}" for step in before if step["name"] not in prompt]
    if inputs and not any(re.search(rf"\{{\{{[^}}]*\b{re.escape(name)}\b", prompt) for name in inputs):
        notes += [f"{name}: {{{{ {name} }}}}" for name in inputs]
    return "\n\n".join([prompt.strip(), *notes])


def _entrant(stable: Document, variant: Variant, origin: Origin) -> Entrant:
    fields = {"domain": stable.domain, **variant.document, "name": stable.name}
    try:
        document = load_document(fields)
    except InvalidInputError as error:
        return Entrant(variant.label, origin, None, tuple(_of(variant.label, problem) for problem in error.problems))
    if document.domain != stable.domain:
        reason = f"is of domain {document.domain!r}, the pipeline of {stable.domain!r}"
        return Entrant(variant.label, origin, None, (_of(variant.label, Problem(path="domain", reason=reason)),))
    text = f"variant {variant.label} of an experiment"
    return Entrant(variant.label, origin, candidate_of(document, parent=stable.digest, operator=OPERATOR, text=text))


def _within(entrant: Entrant, scope: TrialScope) -> Entrant:
    if entrant.candidate is None:
        return entrant
    found = check_scope(document_facts(load_document(dict(entrant.candidate.document))), scope)
    return _without(entrant, *(_of(entrant.label, problem) for problem in found)) if found else entrant


def _without(entrant: Entrant, *problems: Problem) -> Entrant:
    return Entrant(entrant.label, entrant.origin, None, (*entrant.problems, *problems))


def _of(label: str, problem: Problem) -> Problem:
    return problem.model_copy(update={"path": f"variants.{label}.{problem.path}".rstrip(".")})
