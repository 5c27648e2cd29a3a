"""Competitors on planted landscapes: each gets the seed, the same cases, the same proposer and the same number of evaluations."""

from __future__ import annotations

import asyncio
import json
import random
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from bench.evolution.planted import ALLELES, NAMES, SEED, Genes, Landscape, mutated
from evoline.optimization.menus import text_candidate
from shared.search.candidates import Candidate, Entry
from shared.search.plan import FINALISTS
from shared.search.strategies import FINALIST_COUNT, STRATEGIES, SearchOverError, run_finals

PEERS = Path(__file__).parent / "peers"
FINAL_SHARE = 0.35


@dataclass(frozen=True)
class Found:
    best: Genes
    claim: float
    """Gain over the seed as the competitor itself reports it."""
    evaluations: int
    reached: Mapping[int, float] = field(default_factory=dict)


@dataclass(frozen=True)
class Problem:
    landscape: Landscape
    budget: int
    number: int
    dev: int = 50

    @property
    def train_cases(self) -> list[str]:
        return [f"train-{index}" for index in range(self.dev)]

    @property
    def dev_cases(self) -> list[str]:
        return [f"dev-{index}" for index in range(self.dev)]


class SearchAlone:
    """Our search and finalists' round with the whole budget, without the sealed gate."""

    def __init__(self, strategy: str) -> None:
        self.name = strategy

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        return None

    def solve(self, problem: Problem) -> Found:
        return asyncio.run(self._solve(problem))

    async def _solve(self, problem: Problem) -> Found:
        arena, seed = CountedLandscape(problem.landscape), text_candidate(SEED)
        cases, fresh = _divided(problem)
        final = min(round(problem.budget * FINAL_SHARE), FINALISTS * len(fresh))
        arena.limit = problem.budget - final
        found = await STRATEGIES[self.name]().search(seed, cases, arena, GeneProposer(problem.number), problem.number)
        arena.limit = problem.budget
        chosen = [found.archive[digest].candidate for digest in found.ranking[:FINALIST_COUNT]]
        try:
            finals = await run_finals(seed, chosen, fresh, arena, min(arena.remaining, final)) if chosen else None
        except SearchOverError:
            finals = None
        if finals is None or finals.best is None:
            return Found(SEED, 0.0, arena.spent)
        claim = finals.best.mean - finals.seed.mean_on(tuple(finals.best.grades))
        return Found(finals.best.candidate.document, claim, arena.spent)


class Gepa:
    """gepa in an environment of its own, asked over its standard input and output."""

    name = "gepa"

    def __init__(self, python: Path, *, merge: bool = False) -> None:
        self._python = python
        self._merge = merge
        self.name = "gepa, merging" if merge else "gepa"
        self.version = ""

    def __enter__(self) -> Self:
        script = str(PEERS / "gepa_peer.py")
        self._process = subprocess.Popen(
            [str(self._python), script], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
        )
        self.version = str(self._hear()["ready"])
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        assert self._process.stdin is not None and self._process.stdout is not None
        self._process.stdin.close()
        self._process.wait(10)
        self._process.stdout.close()

    def solve(self, problem: Problem) -> Found:
        self._say(
            {
                "seed_candidate": dict(SEED),
                "train": problem.train_cases,
                "dev": problem.dev_cases,
                "budget": problem.budget,
                "seed": problem.number,
                "alleles": ALLELES,
                "merge": self._merge,
            }
        )
        evaluations = 0
        while "done" not in (message := self._hear()):
            scores = [problem.landscape.score(message["evaluate"], case) for case in message["cases"]]
            evaluations += len(scores)
            self._say({"scores": scores})
        return Found(message["done"]["best"], message["done"]["claim"], evaluations)

    def _say(self, message: Mapping[str, Any]) -> None:
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps(message) + "\n")
        self._process.stdin.flush()

    def _hear(self) -> dict[str, Any]:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            raise RuntimeError(f"{self.name} ended: code {self._process.wait(5)}")
        heard: dict[str, Any] = json.loads(line)
        return heard


class CountedLandscape:
    """Implements the strategies' `Arena` on a landscape."""

    def __init__(self, landscape: Landscape) -> None:
        self._landscape = landscape
        self._scores: dict[tuple[str, str], float] = {}
        self.limit = 0
        self.spent = 0

    @property
    def remaining(self) -> int:
        return max(0, self.limit - self.spent)

    async def measure(self, candidates: Sequence[Candidate], cases: Sequence[str]) -> list[list[float | None]]:
        new = {(one.digest, case): one for one in candidates for case in cases if (one.digest, case) not in self._scores}
        if len(new) > self.remaining:
            raise SearchOverError("evaluations", f"{self.remaining} evaluations left, {len(new)} needed")
        self.spent += len(new)
        for (digest, case), one in new.items():
            self._scores[digest, case] = self._landscape.score(one.document, case)
        return [[self._scores[one.digest, case] for case in cases] for one in candidates]


class GeneProposer:
    """Another allele of one gene, which all competitors share; and crossover, which gepa calls merge."""

    operators: Mapping[str, float] = {"crossover": 1.0, "proposer": 3.0}
    costly = frozenset({"proposer"})

    def __init__(self, number: int) -> None:
        self._random = random.Random(f"proposer:{number}")

    async def propose(
        self, operator: str, parent: Entry, mates: Sequence[Mapping[str, Any]], generator: random.Random
    ) -> Candidate | None:
        genes = parent.candidate.document
        if operator == "proposer":
            child: Genes = mutated(genes, self._random.choice(NAMES), self._random)
        elif mates:
            mate = generator.choice(list(mates))
            child = {name: (mate if generator.random() < 0.5 else genes)[name] for name in NAMES}
        else:
            return None
        found = text_candidate(child, parent.candidate.digest, operator)
        return None if found.digest == parent.candidate.digest else found


def _divided(problem: Problem) -> tuple[list[str], list[str]]:
    """As `optimize` divides texts: training cases and half of dev for the search, the other half fresh."""
    shuffler = random.Random(f"cases:{problem.number}")
    dev = problem.dev_cases
    shuffler.shuffle(dev)
    fresh, searched = dev[: len(dev) // 2], [*dev[len(dev) // 2 :], *problem.train_cases]
    shuffler.shuffle(searched)
    return searched, fresh
