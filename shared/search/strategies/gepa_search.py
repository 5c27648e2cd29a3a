"""gepa (Agrawal et al. 2025, arXiv 2507.19457) as a strategy: it chooses parents, minibatches and whom to keep; new texts come from
our operators or from its own reflection model; we measure, count, keep the archive, confirm and certify.

gepa is synchronous, so it works in a thread of its own and asks the search's event loop for every measurement."""

from __future__ import annotations

import asyncio
import importlib.util
import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from shared.errors import InvalidInputError, Problem
from shared.search.candidates import Archive, Candidate, Entry, SearchResult
from shared.search.strategies.gepa_adapter import GepaAdapter, StoppedError
from shared.search.strategies.strategy import Arena, Proposer, SearchOverError
from shared.search.texts import Instructions, TextMap, View, WholeDocument

ReflectionModel = Callable[[str], str]
"""gepa's own way to new texts: a prompt with feedback in, a text with a new instruction in a fenced block out."""


@dataclass(frozen=True)
class GepaSearch:
    """Raises `InvalidInputError` where gepa is not installed."""

    minibatch: int = 3
    validation_share: float = 0.06
    """Part of the budget that measuring one accepted candidate on the validation cases may cost."""
    fruitless_limit: int = 60
    """Questions in a row that cost no evaluation: there is nothing new to measure."""
    reflection_model: ReflectionModel | None = None
    """None: new texts come from the operators. Given: it rewrites texts, or the instructions of a pipeline's steps."""
    merge: bool = False
    name: str = "gepa"

    def __post_init__(self) -> None:
        if importlib.util.find_spec("gepa") is None:
            suggestion = "install it: pip install 'evoline[gepa]', or choose another strategy"
            raise InvalidInputError(Problem(path="strategy", reason="gepa is not installed", suggestion=suggestion))

    async def search(self, seed: Candidate, cases: Sequence[str], arena: Arena, proposer: Proposer, number: int) -> SearchResult:
        archive = Archive()
        start = archive.add(seed)
        start.accepted = True
        home = list(cases[: max(2 * self.minibatch, round(arena.remaining * self.validation_share))])
        loop = asyncio.get_running_loop()
        adapter = GepaAdapter(
            arena,
            proposer,
            archive,
            self._view(seed),
            asks=lambda work: asyncio.run_coroutine_threadsafe(work, loop).result(),
            generator=random.Random(f"gepa:{number}"),  # noqa: S311 - a reproducible search, no secret
        )
        if self.reflection_model is None:
            adapter.propose_new_texts = adapter.proposed
        reason = await self._run(adapter, seed, list(cases), home, number)
        return SearchResult(archive, _ranking(archive, start), (reason,))

    async def _run(self, adapter: GepaAdapter, seed: Candidate, cases: list[str], home: list[str], number: int) -> str:
        """Why gepa ended."""
        try:
            await asyncio.to_thread(self._optimize, adapter, seed, cases, home, number)
        except (SearchOverError, StoppedError) as over:
            adapter.error = adapter.error or over
        except asyncio.CancelledError:
            adapter.stopped = True  # the thread ends at its next question
            raise
        if adapter.error is not None and not isinstance(adapter.error, SearchOverError):
            raise adapter.error
        return str(adapter.error) if adapter.error else f"nothing new in {self.fruitless_limit} questions"

    def _optimize(self, adapter: GepaAdapter, seed: Candidate, cases: list[str], home: list[str], number: int) -> None:
        import gepa

        gepa.optimize(
            seed_candidate=adapter.view.texts(seed.document),
            trainset=cases,
            valset=home,
            adapter=adapter,
            reflection_lm=self.reflection_model,
            reflection_minibatch_size=self.minibatch,
            use_merge=self.merge,
            stop_callbacks=lambda state: adapter.error is not None or adapter.fruitless >= self.fruitless_limit,
            seed=number,
            logger=_Silent(),
        )

    def _view(self, seed: Candidate) -> View:
        if all(isinstance(value, str) for value in seed.document.values()):
            return TextMap()
        return Instructions(seed.document) if self.reflection_model else WholeDocument()


class _Silent:
    def log(self, message: str) -> None:
        """gepa tells its steps; we tell ours."""


def _ranking(archive: Archive, seed: Entry) -> tuple[str, ...]:
    """Those that gepa measured on all validation cases and that beat the seed there, best first; then those that seemed better."""
    others = [entry for entry in archive.entries if entry.grades and entry is not seed]
    better = [entry for entry in others if _shared_gain(entry, seed) > 0.0]
    for entry in better:
        entry.accepted = True
    return tuple(one.candidate.digest for one in sorted(better, key=lambda one: (-len(one.grades), -_shared_gain(one, seed))))


def _shared_gain(entry: Entry, seed: Entry) -> float:
    both = [case for case in entry.grades if case in seed.grades]
    return entry.mean_on(both) - seed.mean_on(both)
