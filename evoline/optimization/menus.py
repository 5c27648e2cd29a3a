"""What a search may propose: the project's own operators, and the caller's proposer beside them, whose every answer is checked."""

from __future__ import annotations

import asyncio
import copy
import inspect
import json
import random
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from evoline.optimization.journal import Journal
from evoline.optimization.measuring import CountingArena, copied, is_to_end, written
from shared.errors import InvalidInputError, Problem
from shared.pipeline.blanks import BLANK
from shared.pipeline.loading import load_document
from shared.search.candidates import Candidate, Entry, Lent, OperatorContext, Proposal
from shared.search.genome import keeps_outputs, with_room
from shared.search.menu import candidate_of
from shared.search.operators import Operator, all_operators, operators_for
from shared.search.text_operators import LONGEST_TEXT, text_operators
from shared.search.texts import is_writable
from shared.search.texts import text_candidate as text_candidate

PROPOSER = "proposer"
PROPOSER_WEIGHT = 3.0
USELESS_LIMIT = 25
"""Answers in a row of which nothing can be used, after which the proposer is not asked again."""
_SHOWN_CASES = 8

CallersProposer = Callable[[Any, list[dict[str, Any]]], Any]
"""(parent, feedback) -> candidate; may be asynchronous. Feedback: `{case, score, feedback}`, worst first."""
Check = Callable[[Mapping[str, Any], str, str, str], Candidate | None]
"""(document, parent, operator, text) -> a valid candidate, or None."""


def is_pipeline(seed: Mapping[str, Any]) -> bool:
    return isinstance(seed.get("steps"), list)


def seed_of(seed: Mapping[str, Any]) -> Candidate:
    """Raises `InvalidInputError` with every problem of a pipeline document, or of a map that is no map of texts."""
    if is_pipeline(seed):
        return candidate_of(load_document(seed))
    wrong = [
        Problem(path=f"seed.{key}", reason=f"{_what_is_no_text(key, text)}, not a text", suggestion="give a map of names to texts")
        for key, text in seed.items()
        if not isinstance(key, str) or not isinstance(text, str)
    ]
    wrong += [
        Problem(path=f"seed.{key}", reason=f"has {len(text)} characters", suggestion=f"give at most {LONGEST_TEXT}")
        for key, text in seed.items()
        if isinstance(text, str) and len(text) > LONGEST_TEXT  # nothing that keeps it could be proposed
    ]
    wrong += [
        Problem(path=f"seed.{key!r}", reason="holds half of a character that cannot be written", suggestion="remove it")
        for key, text in seed.items()
        if isinstance(key, str) and isinstance(text, str) and not (is_writable(key) and is_writable(text))
    ]
    if wrong or not seed:
        raise InvalidInputError(wrong or Problem(path="seed", reason="is empty", suggestion="give at least one text"))
    return text_candidate(seed)


def _what_is_no_text(key: Any, text: Any) -> str:
    return f"is {type(text).__name__}" if isinstance(key, str) else f"has a name that is {type(key).__name__}"


def checking(seed: Candidate) -> Check:
    """The check that every new candidate passes: a valid document, or exactly the seed's names with texts."""

    def document(content: Mapping[str, Any], parent: str, operator: str, text: str) -> Candidate | None:
        try:
            return candidate_of(load_document(content), parent=parent, operator=operator, text=text)
        except InvalidInputError:
            return None

    def texts(content: Mapping[str, Any], parent: str, operator: str, text: str) -> Candidate | None:
        fits = content.keys() == seed.document.keys()
        if not fits or not all(
            isinstance(each, str) and len(each) <= LONGEST_TEXT and is_writable(each) for each in content.values()
        ):
            return None
        return text_candidate(content, parent, operator, text)

    return document if is_pipeline(seed.document) else texts


def usable_operators(seed: Candidate, wanted: Sequence[str] | None, context: OperatorContext) -> tuple[Operator, ...]:
    """Those that have something to work with in this search. Raises `InvalidInputError` for names that are no operators, listing
    those that are."""
    known = all_operators() if is_pipeline(seed.document) else text_operators()
    if wanted is None:
        return _fitting(known, context)
    names = {operator.name for operator in known}
    if unknown := sorted(set(wanted) - names):
        reason = f"unknown operators {', '.join(unknown)}"
        raise InvalidInputError(Problem(path="operators", reason=reason, suggestion=f"choose among {', '.join(sorted(names))}"))
    return _fitting(tuple(operator for operator in known if operator.name in wanted), context)


def _fitting(operators: Sequence[Operator], context: OperatorContext) -> tuple[Operator, ...]:
    idle = {one.name for one in all_operators()} - {one.name for one in operators_for(context)}
    return tuple(one for one in operators if one.name not in idle)


def lent(borrow: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Templates and pipelines of `borrow`, as a context has them. Raises `InvalidInputError` for what is neither."""
    loaded = [load_document(one, file=f"borrow[{index}]") for index, one in enumerate(borrow)]
    templates, donors = [], []
    for document, given in zip(loaded, borrow, strict=True):
        if BLANK.search(json.dumps(given, default=str)):
            templates.append(Lent(document.digest, given))
        else:
            donors.append(Lent(document.digest, document.canonical()))
    return {"templates": tuple(templates), "donors": tuple(donors)}


class Menu:
    """Implements the strategies' `Proposer`."""

    def __init__(self, operators: Sequence[Operator], context: OperatorContext, check: Check, outside: OutsideProposer | None):
        self._operators = {operator.name: operator for operator in operators}
        self._context = context
        self._check = check
        self._outside = outside

    @property
    def operators(self) -> Mapping[str, float]:
        weights = {name: operator.weight for name, operator in self._operators.items()}
        return weights | {PROPOSER: PROPOSER_WEIGHT} if self._outside else weights

    @property
    def costly(self) -> frozenset[str]:
        return frozenset((PROPOSER,))

    async def propose(self, operator: str, parent: Entry, mates: Sequence[Candidate], generator: random.Random) -> Candidate | None:
        former, digest = parent.candidate.origins, parent.candidate.digest
        if operator == PROPOSER:
            answer = await self._outside.ask(parent.candidate, self._check) if self._outside else None
            return answer.from_also(former) if answer else None
        offer = self._operators[operator].apply(parent.candidate.document, replace(self._context, mates=tuple(mates)), generator)
        fits = isinstance(offer, Proposal) and keeps_outputs(self._context.seed, offer.document)
        found = self._check(_with_room(offer.document), digest, offer.operator, offer.text) if offer and fits else None
        return found.from_also(former, offer.origins) if offer and found is not None and found.digest != digest else None


def _with_room(document: Mapping[str, Any]) -> Mapping[str, Any]:
    """As the service does: where a pipeline states narrow limits, no step could ever be added."""
    return with_room(document) if is_pipeline(document) else document


class OutsideProposer:
    """The caller's proposer. What it gives is checked and counted; after too much that is useless it is not asked again."""

    def __init__(self, propose: CallersProposer, seed: Candidate, arena: CountingArena, journal: Journal) -> None:
        self._propose = propose
        self._arena = arena
        self._journal = journal
        self._asked: Counter[str] = Counter()
        self._useless = 0
        self._given = {seed.digest}
        self.counts: Counter[str] = Counter(asked=0, usable=0, refused=0)
        self.last_fault = ""

    @property
    def given_up(self) -> bool:
        return self._useless >= USELESS_LIMIT

    async def ask(self, parent: Candidate, check: Check) -> Candidate | None:
        if self.given_up:
            return None
        self._asked[parent.digest] += 1
        key = f"proposal:{parent.digest}:{self._asked[parent.digest]}"
        if key not in self._journal:
            self._journal.keep(key, await self._answer(parent))
        self.counts["asked"] += 1
        line = self._journal.get(key)
        answer, fault = (
            line if isinstance(line, list | tuple) and len(line) == 2 else (None, "the journal's line is no answer of it")
        )
        found = check(answer, parent.digest, PROPOSER, "") if isinstance(answer, Mapping) else None
        if found is None or found.digest == parent.digest or found.digest in self._given:
            self.last_fault = fault or _fault(found, parent)
            self._useless += 1
            self.counts["refused"] += 1
            return None
        self._useless = 0
        self._given.add(found.digest)
        self.counts["usable"] += 1
        return found

    async def _answer(self, parent: Candidate) -> tuple[Any, str]:
        rows = self._arena.wrong(parent.digest)[:_SHOWN_CASES]
        # Copies: a proposer that edits a label must not edit what the next candidates are graded by.
        feedback = [{"case": copied(case), "score": score, "feedback": text} for case, score, text in rows]
        try:
            answer = self._propose(copy.deepcopy(dict(parent.document)), feedback)
            answer = await answer if inspect.isawaitable(answer) else answer
            kept = json.loads(json.dumps(answer))  # as the journal gives it: a search that goes on must read the same
        except (Exception, asyncio.CancelledError) as error:
            if is_to_end(error):
                raise
            return None, f"it raised {type(error).__name__}: {written(error)}"[:500]
        return kept, "" if isinstance(answer, Mapping) else f"it gave {type(answer).__name__} instead of a map"


def _fault(found: Candidate | None, parent: Candidate) -> str:
    if found is None:
        return "its answer is no valid candidate"
    if found.digest == parent.digest:
        return "it gave the parent back"
    return "it gave the seed or a candidate that it had given before"


def explained(outside: OutsideProposer | None) -> tuple[str, ...]:
    if outside is not None and outside.given_up:
        return (f"the proposer was not asked again after {USELESS_LIMIT} useless answers in a row: {outside.last_fault}",)
    return ()
