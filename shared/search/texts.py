"""Candidates as maps of texts: what a map of prompts is anyway, and how other optimisers see a pipeline."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import replace
from typing import Any, Protocol

from shared.errors import InvalidInputError
from shared.pipeline.loading import load_document
from shared.search.candidates import SEED_OPERATOR, Candidate
from shared.search.genome import copied, prompted_steps, steps_of, with_room
from shared.search.menu import candidate_of
from shared.search.prompts import escape, is_dynamic, read_prompt
from shared.search.text_operators import LONGEST_TEXT

Texts = dict[str, str]
_DOCUMENT = "document"


class View(Protocol):
    """Texts of a candidate, and candidates from texts that somebody else wrote."""

    def texts(self, document: Mapping[str, Any]) -> Texts: ...
    def candidate(self, texts: Mapping[str, str], parent: str, operator: str) -> Candidate | None:
        """None where the texts make no valid candidate."""
        ...


def text_candidate(texts: Mapping[str, str], parent: str = "", operator: str = SEED_OPERATOR, text: str = "") -> Candidate:
    content = json.dumps(dict(texts), sort_keys=True, ensure_ascii=False)
    return Candidate(hashlib.sha256(content.encode()).hexdigest(), dict(texts), parent, operator, text)


def is_writable(text: str) -> bool:
    """Half of a surrogate pair, as a model's cut answer may hold, is not."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


class TextMap:
    """The candidate is a map of texts."""

    def texts(self, document: Mapping[str, Any]) -> Texts:
        return dict(document)

    def candidate(self, texts: Mapping[str, str], parent: str, operator: str) -> Candidate | None:
        fits = all(isinstance(text, str) and len(text) <= LONGEST_TEXT and is_writable(text) for text in texts.values())
        return text_candidate(texts, parent, operator) if fits else None


class WholeDocument:
    """A pipeline as one text, so that operators may change anything of it."""

    def texts(self, document: Mapping[str, Any]) -> Texts:
        return {_DOCUMENT: json.dumps(document, sort_keys=True, ensure_ascii=False)}

    def candidate(self, texts: Mapping[str, str], parent: str, operator: str) -> Candidate | None:
        try:
            return candidate_of(load_document(json.loads(texts[_DOCUMENT])), parent=parent, operator=operator)
        except (InvalidInputError, ValueError):
            return None


class Instructions:
    """The instructions of a pipeline's model steps, each by the name of its step; everything else stays the seed's."""

    def __init__(self, seed: Mapping[str, Any]) -> None:
        self._seed = seed

    def texts(self, document: Mapping[str, Any]) -> Texts:
        steps = [steps_of(document)[index] for index in prompted_steps(document)]
        prompts = {step["name"]: read_prompt(step["prompt"]) for step in steps}
        return {name: prompt.instruction for name, prompt in prompts.items() if prompt is not None}

    def candidate(self, texts: Mapping[str, str], parent: str, operator: str) -> Candidate | None:
        changed, ours = copied(self._seed), self.texts(self._seed)
        for step in steps_of(changed):
            prompt = read_prompt(step["prompt"]) if step["name"] in ours else None
            wanted = texts.get(step["name"], "").strip()
            if prompt is None or wanted == ours[step["name"]]:
                continue
            if not wanted or len(wanted) > LONGEST_TEXT:
                return None
            # What a model wrote is text, never a template.
            step["prompt"] = replace(prompt, instruction=escape(wanted) if is_dynamic(wanted) else wanted).text()
        try:
            return candidate_of(load_document(with_room(changed)), parent=parent, operator=operator)
        except InvalidInputError:
            return None
