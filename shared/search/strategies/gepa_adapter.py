"""What gepa asks, answered by our arena and our operators. Called in gepa's thread; `asks` carries work to the search's loop."""

from __future__ import annotations

import json
import random
from collections.abc import Callable, Coroutine, Mapping, Sequence
from typing import Any

from shared.search.candidates import Archive, Candidate, Entry
from shared.search.strategies.strategy import Arena, Explains, Proposer
from shared.search.texts import View

_PROPOSED_BY_GEPA = "gepa"


class StoppedError(Exception):
    """The search was cancelled; gepa's thread ends here."""


class GepaAdapter:
    """Implements gepa's `GEPAAdapter`. Every failure is kept in `error`: gepa itself would log some and go on."""

    def __init__(
        self,
        arena: Arena,
        proposer: Proposer,
        archive: Archive,
        view: View,
        *,
        asks: Callable[[Coroutine[Any, Any, Any]], Any],
        generator: random.Random,
    ) -> None:
        self.view = view
        self.propose_new_texts: Any = None
        """gepa looks here for a way to new texts; None lets its own reflection model write them."""
        self.fruitless = 0
        """Questions in a row that cost no evaluation."""
        self.error: BaseException | None = None
        self.stopped = False
        self._arena = arena
        self._proposer = proposer
        self._archive = archive
        self._asks = asks
        self._random = generator
        self._made = {_key(view.texts(entry.candidate.document)): entry.candidate for entry in archive.entries}
        self._parent = ""

    def evaluate(self, batch: list[str], candidate: dict[str, str], capture_traces: bool = False) -> Any:
        from gepa.core.adapter import EvaluationBatch

        known = self._known(candidate)
        grades = self._asked(self._measured(known, batch)) if known else [None] * len(batch)
        traces = [{"case": case, "grade": grade} for case, grade in zip(batch, grades, strict=True)]
        scores = [grade or 0.0 for grade in grades]
        return EvaluationBatch(outputs=list(grades), scores=scores, trajectories=traces if capture_traces else None)

    def make_reflective_dataset(
        self, candidate: dict[str, str], eval_batch: Any, components_to_update: list[str]
    ) -> Mapping[str, Sequence[Mapping[str, Any]]]:
        known = self._known(candidate)
        self._parent = known.digest if known else ""
        rows = [self._explained(self._parent, trace) for trace in eval_batch.trajectories or ()]
        return dict.fromkeys(components_to_update, rows)

    def proposed(
        self, candidate: dict[str, str], reflective_dataset: Mapping[str, Any], components_to_update: list[str]
    ) -> dict[str, str]:
        """The texts of a child that one of our operators made; none where it has nothing to offer."""
        parent = self._known(candidate)
        child = self._asked(self._child(self._archive[parent.digest])) if parent else None
        if child is None:
            return {}
        texts = self.view.texts(child.document)
        self._made.setdefault(_key(texts), child)
        return texts

    async def _child(self, parent: Entry) -> Candidate | None:
        weights = {name: weight for name, weight in sorted(self._proposer.operators.items()) if weight > 0}
        mates = tuple(entry.candidate for entry in self._archive.entries if entry.accepted and entry is not parent)
        operator = self._random.choices(list(weights), list(weights.values()))[0]
        return await self._proposer.propose(operator, parent, mates, self._random)

    async def _measured(self, candidate: Candidate, batch: list[str]) -> list[float | None]:
        before = self._arena.remaining
        (grades,) = await self._arena.measure([candidate], batch)
        self.fruitless = 0 if self._arena.remaining < before else self.fruitless + 1
        self._archive.add(candidate).add(batch, grades)
        return grades

    def _known(self, texts: Mapping[str, str]) -> Candidate | None:
        """The candidate of these texts; a valid one that is not known was written by gepa. None where they make none."""
        key = _key(texts)
        if key not in self._made:
            made = self.view.candidate(texts, self._parent, _PROPOSED_BY_GEPA)
            if made is None:
                self.fruitless += 1
                return None
            self._made[key] = made.from_also(self._archive[self._parent].candidate.origins if self._parent else ())
        return self._made[key]

    def _explained(self, digest: str, trace: Mapping[str, Any]) -> Mapping[str, Any]:
        told = self._arena.explain(digest, trace["case"]) if isinstance(self._arena, Explains) else {"Inputs": trace["case"]}
        return {**told, "Score": trace["grade"] or 0.0}

    def _asked(self, work: Coroutine[Any, Any, Any]) -> Any:
        if self.stopped or self.error is not None:
            work.close()
            raise StoppedError
        try:
            return self._asks(work)
        except BaseException as error:
            self.error = self.error or error
            raise


def _key(texts: Mapping[str, str]) -> str:
    return json.dumps(dict(texts), sort_keys=True)
