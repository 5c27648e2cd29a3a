"""Our competitors: a strategy with the whole budget for search and finals, and all of `optimize`, the gate included."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Mapping, Sequence

from bench.evolution.problems import EvaluationServer, Found, OverBudgetError, Problem, Propose
from evoline import optimize
from evoline.optimization.menus import text_candidate
from shared.search.candidates import Candidate, Entry
from shared.search.plan import FINALISTS
from shared.search.strategies import FINALIST_COUNT, STRATEGIES, SearchOverError, run_finals

FINAL_SHARE = 0.35


class SearchAlone:
    """Search and finalists' round with the whole budget, without the sealed gate: what other optimisers are."""

    version = ""

    def __init__(self, strategy: str) -> None:
        self.name = strategy

    def solve(self, problem: Problem) -> Found:
        return asyncio.run(self._solve(problem))

    async def _solve(self, problem: Problem) -> Found:
        arena, seed = _Arena(problem), text_candidate(problem.seed)
        cases, fresh = _divided(problem)
        final = min(round(problem.budget * FINAL_SHARE), FINALISTS * len(fresh))
        arena.limit = problem.budget - final
        found = await STRATEGIES[self.name]().search(seed, cases, arena, TextProposer(problem.propose()), problem.number)
        arena.limit = problem.budget
        chosen = [found.archive[digest].candidate for digest in found.ranking[:FINALIST_COUNT]]
        try:
            finals = await run_finals(seed, chosen, fresh, arena, min(arena.remaining, final)) if chosen else None
        except SearchOverError:
            finals = None
        if finals is None or finals.best is None:
            return Found(dict(problem.seed), 0.0, arena.spent)
        claim = finals.best.mean - finals.seed.mean_on(tuple(finals.best.grades))
        return Found(dict(finals.best.candidate.document), claim, arena.spent)


class Certified:
    """All of `optimize`: search, finals, gate; the budget counts all three."""

    version = ""

    def __init__(self, strategy: str) -> None:
        self.strategy = strategy
        self.name = f"optimize, {strategy}"

    def solve(self, problem: Problem) -> Found:
        server, propose = EvaluationServer(problem.evaluate, problem.budget), problem.propose()
        outcome = optimize(
            problem.seed,
            lambda candidate, case: server.scores(candidate, [case])[0],
            problem.train,
            problem.dev,
            problem.sealed,
            problem.budget,
            problem.number,
            strategy=self.strategy,
            proposer=lambda parent, feedback: propose(parent, None),
            operators=("crossover",),
        )
        told = sum(outcome.evidence.spent.values())
        if told != server.spent or outcome.evidence.failures:
            raise AssertionError(f"{server.spent} evaluations made, {told} told, failures {outcome.evidence.failures}")
        return Found(dict(outcome.best), outcome.claim, server.spent, outcome.verdict)


class _Arena:
    """Implements the strategies' `Arena` on the evaluation server."""

    def __init__(self, problem: Problem) -> None:
        self._server = EvaluationServer(problem.evaluate, problem.budget)

    @property
    def limit(self) -> int:
        return self._server.budget

    @limit.setter
    def limit(self, evaluations: int) -> None:
        self._server.budget = evaluations

    @property
    def spent(self) -> int:
        return self._server.spent

    @property
    def remaining(self) -> int:
        return max(0, self.limit - self.spent)

    async def measure(self, candidates: Sequence[Candidate], cases: Sequence[str]) -> list[list[float | None]]:
        try:
            return [list(self._server.scores(one.document, cases)) for one in candidates]
        except OverBudgetError as over:
            raise SearchOverError("evaluations", str(over)) from over


class TextProposer:
    """The proposer that all competitors share; and crossover, which gepa calls merge."""

    operators: Mapping[str, float] = {"crossover": 1.0, "proposer": 3.0}
    costly = frozenset({"proposer"})

    def __init__(self, propose: Propose) -> None:
        self._propose = propose

    async def propose(self, operator: str, parent: Entry, mates: Sequence[Candidate], generator: random.Random) -> Candidate | None:
        texts = parent.candidate.document
        if operator == "proposer":
            child = self._propose(texts, None)
        elif mates:
            mate = generator.choice(list(mates)).document
            child = {name: (mate if generator.random() < 0.5 else texts)[name] for name in texts}
        else:
            return None
        found = text_candidate(child, parent.candidate.digest, operator)
        return None if found.digest == parent.candidate.digest else found


def _divided(problem: Problem) -> tuple[list[str], list[str]]:
    """As `optimize` divides texts: training cases and half of dev for the search, the other half fresh."""
    shuffler, dev = random.Random(f"cases:{problem.number}"), list(problem.dev)
    shuffler.shuffle(dev)
    fresh, searched = dev[: len(dev) // 2], [*dev[len(dev) // 2 :], *problem.train]
    shuffler.shuffle(searched)
    return searched, fresh
