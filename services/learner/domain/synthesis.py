"""A template from the revision that measured best: its task's own texts become blanks again.

Where the best revision is an instance of a template that is known already, the strongest mined feature that it lacks is grafted on.
A template is only a candidate: the generator tries it on a request's examples beside all the others."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from services.learner.domain.features import walk
from services.learner.domain.mining import ScoredRevision
from shared.events.improvement import Pattern
from shared.events.message import derive_id
from shared.pipeline.loading import load_document

SHORTEST_REPLACED = 3
LEFT_OVER = re.compile(r"(?m)^(?:Label|Answer): (?!\{\{|\[\[)")
TEXT_BLANKS = ("instruction", "examples_8", "examples_4", "labels_text", "item")
IDENTITY_KEYS = ("name", "description", "domain", "inputs")


@dataclass(frozen=True)
class Blueprint:
    """A template to propose, or the reason why there is none."""

    document: dict[str, Any] | None
    source_digest: str = ""
    reason: str = ""


def blueprint(revisions: Sequence[ScoredRevision], patterns: Sequence[Pattern], known: Sequence[Mapping[str, Any]]) -> Blueprint:
    """`known` are the documents of all templates that exist."""
    usable = [revision for revision in revisions if revision.parameters and revision.score.cases >= 8]
    if not usable:
        return Blueprint(None, reason="no revision was measured on 8 cases or more")
    best = max(usable, key=lambda revision: (revision.score.low, revision.score.mean, revision.digest))
    generalised = generalise(best.document, best.parameters)
    if generalised is None:
        return Blueprint(None, best.digest, "the best revision holds examples of its own task that are no blanks")
    signatures = {signature(document) for document in known}
    if signature(generalised) in signatures:
        grafted = graft(generalised, patterns)
        if grafted is None:
            return Blueprint(
                None, best.digest, "the best revision is an instance of a known template, and no mined feature adds to it"
            )
        generalised = grafted
    if signature(generalised) in signatures:
        return Blueprint(None, best.digest, "the template that would be made is known already")
    return Blueprint(_named(generalised, best), best.digest)


def _named(document: dict[str, Any], best: ScoredRevision) -> dict[str, Any]:
    kind = (
        "classify" if "labels" in best.parameters else "extract" if "result }}" in json.dumps(document.get("outputs")) else "answer"
    )
    name = f"{kind}_learned_{derive_id('template', signature(document))[:8]}"
    described = f"Learned from {best.pipeline} ({best.score.mean:.0%} on {best.score.cases} cases of {best.domain})."
    return {**document, "name": name, "description": described, "domain": "library"}


def signature(document: Mapping[str, Any]) -> str:
    """What makes two templates the same: the canonical form but for names, words about it and inputs, spaces folded."""
    kept = {key: value for key, value in load_document(document).canonical().items() if key not in IDENTITY_KEYS}
    return re.sub(r"\s+", " ", json.dumps(kept, sort_keys=True, ensure_ascii=False).replace("\\n", " "))


def generalise(document: Mapping[str, Any], parameters: Mapping[str, Any]) -> dict[str, Any] | None:
    """The document with its task's texts, labels and schema as blanks; None where labelled examples of the task remain."""
    texts = [(name, parameters[name]) for name in TEXT_BLANKS if isinstance(parameters.get(name), str)]
    # Longest first: an instruction that holds the label list must not be cut in two.
    texts = sorted(((n, t) for n, t in texts if len(t.strip()) >= SHORTEST_REPLACED), key=lambda pair: -len(pair[1]))
    # The inputs are the task's own; whoever fills the template brings others with the blank `item`.
    own = {key: value for key, value in document.items() if key != "inputs"}
    blanked: dict[str, Any] = _blank(own, texts, parameters.get("labels"), parameters.get("answer_schema"))
    prompts = [step["prompt"] for step in walk(blanked.get("steps", ())) if isinstance(step.get("prompt"), str)]
    return None if any(LEFT_OVER.search(prompt) for prompt in prompts) else blanked


def _blank(value: Any, texts: Sequence[tuple[str, str]], labels: Any, schema: Any) -> Any:
    if isinstance(value, str):
        for name, text in texts:
            value = value.replace(text.rstrip("\n"), f"[[ {name} ]]")
        return value
    if isinstance(value, Mapping):
        if schema and value == schema:
            return {"title": "[[ answer_schema ]]"}
        return {key: _blank(member, texts, labels, schema) for key, member in value.items()}
    if isinstance(value, list):
        if labels and value == labels:
            return ["[[ labels ]]"]
        if _is_pool(value):
            return ["[[ pool ]]"]
        return [_blank(member, texts, labels, schema) for member in value]
    return value


def _is_pool(value: Sequence[Any]) -> bool:
    return len(value) > 1 and all(isinstance(member, Mapping) and set(member) == {"text", "label"} for member in value)


def graft(document: Mapping[str, Any], patterns: Sequence[Pattern]) -> dict[str, Any] | None:
    """The first grafting whose feature was mined with a positive lift and is absent here."""
    lifts = {pattern.text: pattern.lift for pattern in patterns}
    prompts = [step for step in walk(document["steps"]) if isinstance(step.get("prompt"), str)]
    if not prompts:
        return None
    last = prompts[-1]["prompt"]
    wanted = max(lifts.get("shows fixed examples", 0.0), lifts.get("shows examples looked up for the item", 0.0))
    if wanted > 0 and "[[ examples_" not in last and "[[ item ]]" in last:
        head, _, tail = last.rpartition("[[ item ]]")
        return _with_prompt(document, prompts[-1]["name"], f"{head.rstrip()}\n\nExamples:\n[[ examples_4 ]]\n\n[[ item ]]{tail}")
    return None


def _with_prompt(document: Mapping[str, Any], name: str, prompt: str) -> dict[str, Any]:
    steps = [{**step, "prompt": prompt} if step.get("name") == name else step for step in document["steps"]]
    return {**document, "steps": steps}
