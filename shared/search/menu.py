"""New candidates: an operator's offer, checked like any document and against the trial scope, or nothing."""

from __future__ import annotations

import random
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from shared.errors import InvalidInputError
from shared.events.values import TrialScope
from shared.pipeline.document import Document
from shared.pipeline.facts import document_facts
from shared.pipeline.loading import load_document
from shared.pipeline.scope import check_scope
from shared.search.candidates import Candidate, Entry, Failure, OperatorContext, Proposal
from shared.search.genome import keeps_outputs, with_room
from shared.search.operators import Operator, rewrite

Rewrite = Callable[[Mapping[str, Any], str], Awaitable[str | None]]
"""(inputs of the rewriting document, key) -> a new instruction, or None where there is none to be had."""
Failures = Callable[[str], Sequence[Failure]]
"""Digest -> cases that it got wrong."""


class OperatorMenu:
    """Implements the strategies' `Proposer` over the given operators and, where `rewriting` is given, the reflective rewrite."""

    def __init__(
        self,
        operators: Sequence[Operator],
        context: OperatorContext,
        scope: TrialScope | None,
        *,
        rewriting: Rewrite | None = None,
        failures: Failures = lambda digest: (),
    ) -> None:
        """`scope` None: whoever measures judges by itself what may run."""
        self._operators = {operator.name: operator for operator in operators}
        self._context = context
        self._scope = scope
        self._rewriting = rewriting
        self._failures = failures

    @property
    def operators(self) -> Mapping[str, float]:
        weights = {name: operator.weight for name, operator in self._operators.items()}
        return weights | {rewrite.NAME: rewrite.WEIGHT} if self._rewriting else weights

    @property
    def costly(self) -> frozenset[str]:
        return frozenset((rewrite.NAME,))

    async def propose(self, operator: str, parent: Entry, mates: Sequence[Candidate], generator: random.Random) -> Candidate | None:
        if operator == rewrite.NAME:
            offer = await self._rewritten(parent, generator)
        else:
            context = replace(self._context, mates=tuple(mates))
            offer = self._operators[operator].apply(parent.candidate.document, context, generator)
        return self._checked(offer, parent.candidate) if offer else None

    def _checked(self, offer: Proposal, parent: Candidate) -> Candidate | None:
        try:
            document = load_document(with_room(offer.document))
        except InvalidInputError:
            return None  # operators are valid by this check, not by knowing every rule themselves
        if document.digest == parent.digest or self._is_outside(document) or not keeps_outputs(self._context.seed, offer.document):
            return None
        made = candidate_of(document, parent=parent.digest, operator=offer.operator, text=offer.text)
        return made.from_also(parent.origins, offer.origins)

    def _is_outside(self, document: Document) -> bool:
        return self._scope is not None and bool(check_scope(document_facts(document), self._scope))

    async def _rewritten(self, parent: Entry, generator: random.Random) -> Proposal | None:
        wrong = list(self._failures(parent.candidate.digest))
        generator.shuffle(wrong)
        inputs = rewrite.rewriting_inputs(parent.candidate.document, wrong)
        if inputs is None or self._rewriting is None:
            return None
        text = await self._rewriting(inputs, rewrite.rewriting_key(inputs))
        return rewrite.rewritten(parent.candidate.document, text, self._context)


def candidate_of(document: Document, *, parent: str = "", operator: str = "seed", text: str = "") -> Candidate:
    return Candidate(document.digest, document.canonical(), parent, operator, text)
