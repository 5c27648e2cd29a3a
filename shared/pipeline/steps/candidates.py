"""Pipelines that come out of other steps: references, documents, or text with a document in it. None is believed."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

from shared.errors import InvalidInputError, Problem
from shared.pipeline.document import Document

REFERENCE = re.compile(r"[a-z][a-z0-9_]{0,62}(@(stable|canary|[0-9a-f]{8,64}))?")
_FENCED = re.compile(r"```[a-z]*[ \t]*\n(.*?)\n?```", re.DOTALL)
SHORTEST_DIGEST = 8
_WRAPPERS = ("pipeline", "document", "winner")


def read_pipeline(value: Any) -> str | Document:
    """A reference or a checked document. Takes a step's envelope for its value, and the document out of text and of a map
    around it. Raises `InvalidInputError` with every problem of the document."""
    from shared.pipeline.loading import load_document  # loading imports the registry of step types

    value = _unwrapped(value)
    if isinstance(value, str):
        text = value.strip()
        if REFERENCE.fullmatch(text):
            return text
        fenced = _FENCED.search(text)
        return load_document(fenced.group(1) if fenced else text)
    if isinstance(value, Mapping) and value:
        return load_document(value)
    raise InvalidInputError(Problem(reason=f"neither a reference to a pipeline nor a document: {str(value)[:80]!r}"))


def chosen_among(candidates: Sequence[Document | None], named: Any) -> Document | None:
    """The candidate that a text or number names: by its name, `name@digest`, its digest or its number from 1. Small differences of
    spelling (`Variant B` for `variant_b`) are borne. Raises `InvalidInputError` where the name is that of several."""
    if not isinstance(named, str | int):
        return None
    wanted = str(named).strip()
    found = {each.digest: each for number, each in enumerate(candidates, 1) if each is not None and _is_named(wanted, number, each)}
    if len(found) > 1:
        told = ", ".join(f"{each.name}@{digest[:12]}" for digest, each in found.items())
        raise InvalidInputError(f"{wanted!r} names {len(found)} of the candidates: say which of {told}")
    return next(iter(found.values()), None)


def _is_named(wanted: str, number: int, document: Document) -> bool:
    name, _, digest = wanted.rpartition("@")
    if len(digest) >= SHORTEST_DIGEST and document.digest.startswith(digest) and name in ("", document.name):
        return True
    return wanted in (document.name, str(number)) or re.sub(r"[^a-z0-9]+", "_", wanted.lower()).strip("_") == document.name


def _unwrapped(value: Any) -> Any:
    for _ in range(4):
        if not isinstance(value, Mapping):
            return value
        if value.keys() >= {"value", "status"}:
            if value["status"] == "failed":
                raise InvalidInputError(f"the step that should give the pipeline failed: {value.get('error', '')}")
            value = value["value"]
            continue
        wrapper = next((name for name in _WRAPPERS if name in value), None)
        if wrapper is None or "steps" in value:
            return value
        value = value[wrapper]
    return value
