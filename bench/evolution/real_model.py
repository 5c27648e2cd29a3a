"""Real tasks with the local model: what everybody ships, on held-out cases, at equal calls; and the gain per generation.

Every answer of the model and what every search gave are kept in `bench/recordings/evolution`: a bench that was interrupted goes
on, and CI replays the held-out cases without the model."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import product

from bench.evolution.competitors import PEERS, installed, ready, solved
from bench.evolution.ours import Certified, SearchAlone, TextProposer, _Arena
from bench.evolution.problems import Competitor, Found
from bench.evolution.real_tasks import TASKS, RealTask, Task, load
from bench.evolution.recording import LocalModel, RecordedModel, default_model
from bench.evolution.report import table, write_section
from bench.evolution.rows import ROOT, Rows, code_of
from bench.evolution.sizes import Size
from evoline.optimization.menus import text_candidate
from shared.evidence.effects import paired_effect
from shared.search.strategies import Genetic

TITLE = "Real tasks, local model"
RECORDINGS = ROOT / "bench" / "recordings" / "evolution"
FOUND = "found"
"""What each search gave, beside the answers: CI replays both without the model."""
NUMBERS = (0, 1)
"""Runs of our default and of gepa; the others have the first only."""
OURS = ("guided", "climb")
POPULATION, GENERATIONS, BREEDING_CALLS = 12, 3, 2000
LEVEL = 0.025
SMOKE_CASES = 20


@dataclass(frozen=True)
class Shipped:
    competitor: str
    budget: int
    found: Found
    grades: Sequence[float]
    """On the held-out cases."""
    number: int = NUMBERS[0]


@dataclass(frozen=True)
class Measured:
    task: Task
    real: RealTask | None
    """None where the task's file is not here."""
    seed: Sequence[float]
    """On the held-out cases."""
    shipped: list[Shipped] = field(default_factory=list)
    bred: list[tuple[int, list[float]]] = field(default_factory=list)


def run(size: Size) -> None:
    """Breadth first: each of `_turns` on all tasks; the section grows with each row."""
    rows = Rows(FOUND, RECORDINGS)
    with LocalModel() as local:
        measured = {task.name: _measured(task, local, size) for task in TASKS[: size.real_tasks]}
        there = [one for one in measured.values() if one.real]
        for number, budget, competitor in _turns(size.real_budgets):
            with ready(competitor):
                for one in there:
                    one.shipped.append(_shipped(rows, competitor, one, budget, number))
                    write_section(TITLE, _text(measured), size.results)
        for one in there if size.real_budgets else ():
            one.bred.extend(_generations(rows, one))
            write_section(TITLE, _text(measured), size.results)
        write_section(TITLE, _text(measured), size.results)


def _turns(budgets: Sequence[int]) -> Iterator[tuple[int, int, Competitor]]:
    """(number, budget, competitor); our default and gepa first, at all budgets: an interrupted bench has compared these."""
    peers, ours = installed(), [kind(name) for name in OURS for kind in (Certified, SearchAlone)]
    yield from product(NUMBERS[:1], budgets, [ours[0], *peers[:1]])
    yield from product(NUMBERS[:1], budgets, [*peers[1:], *ours[1:]])
    yield from product(NUMBERS[1:], budgets, [ours[0], *peers[:1]])


def _measured(task: Task, local: LocalModel, size: Size) -> Measured:
    real = load(task, RecordedModel(RECORDINGS / f"{task.name}.jsonl", local))
    return Measured(task, real, held_out(real, task.seed, SMOKE_CASES if not size.real_budgets else None) if real else [])


def held_out(real: RealTask, texts: Mapping[str, str], count: int | None = None) -> list[float]:
    return [real.evaluate(texts, case) for case in real.held_out[:count]]


def _shipped(rows: Rows, competitor: Competitor, one: Measured, budget: int, number: int) -> Shipped:
    assert one.real is not None
    found = solved(rows, competitor, [one.task.name, default_model()], one.real.problem(budget, number))
    return Shipped(competitor.name, budget, found, held_out(one.real, found.best), number)


def _generations(rows: Rows, one: Measured) -> Iterator[tuple[int, list[float]]]:
    """(calls, held-out grades of the leader) after each of the first generations of the genetic algorithm."""
    assert one.real is not None
    problem = one.real.problem(BREEDING_CALLS, NUMBERS[0])
    for generations in range(1, GENERATIONS + 1):
        key = ["generations", code_of("genetic"), one.task.name, default_model(), generations]

        def bred(count: int = generations) -> tuple[int, dict[str, str]]:
            arena, strategy = _Arena(problem), Genetic(population=POPULATION, generations=count)
            seed = text_candidate(problem.seed)
            cases = (*problem.train, *problem.dev)
            result = asyncio.run(strategy.search(seed, cases, arena, TextProposer(problem.propose()), NUMBERS[0]))
            best = result.archive[result.ranking[0]].candidate.document if result.ranking else problem.seed
            return arena.spent, dict(best)

        calls, best = rows.get(key, bred)
        yield calls, held_out(one.real, best)


def _text(measured: Mapping[str, Measured]) -> str:
    lines = [
        f"Local model `{default_model()}`, greedy, answers constrained by a schema. Texts: instruction, hints, examples, closing;",
        "the proposer that all share draws another phrasing, hint or closing, or changes the examples; under a name that ends in",
        "`_nearest` these may also be the 1, 2 or 3 training cases most like the case at hand (`nearest_examples`). 60 training,",
        "60 dev and 60 gate cases, others held out. A run's number seeds all choices. Intervals: paired with the seed on the",
        "held-out cases, 95%; of several runs the mean of each case counts; the interval holds for just these runs.",
        "Ours pays its finals and its gate from the budget, up to three fifths of it; peers search with all of it, without a gate.",
        "Target: at least +10 points over the seed where there is headroom, and not below any peer.\n",
    ]
    return "\n".join([*lines, *(_task_text(name, one) for name, one in measured.items())])


def _task_text(name: str, one: Measured) -> str:
    if one.real is None:
        return f"### {name}\n\nNot measured: the task's file is not here."
    head = f"### {name}\n\nSeed: {100 * sum(one.seed) / len(one.seed):.1f}% on {len(one.seed)} held-out cases.\n\n"
    columns = ("competitor", "budget", "run", "calls", "verdict", "held-out", "gain over the seed, points", "claimed")
    body = table(columns, (row(each, one.seed) for each in one.shipped)) + "\n" if one.shipped else ""
    return head + body + _beside_text(one.shipped, one.seed) + _generations_text(one.seed, one.bred)


def _beside_text(shipped: Sequence[Shipped], seed: Sequence[float]) -> str:
    """Ours minus the seed and minus each peer, in the runs that both have at a budget, paired on the held-out cases."""
    grades = {(one.competitor, one.budget, one.number): one.grades for one in shipped}
    owners = list(dict.fromkeys((one.competitor, one.budget) for one in shipped if one.found.verdict))
    names = [peer.name for peer in PEERS]
    body = []
    for mine, budget in owners:
        numbers = [number for owner, spent, number in grades if (owner, spent) == (mine, budget)]
        gain = _gain(_mean(grades[mine, budget, number] for number in numbers), seed)
        body.append((mine, "the seed", budget, len(numbers), gain))
        for peer in names:
            if both := [number for number in numbers if (peer, budget, number) in grades]:
                ours, theirs = (_mean(grades[name, budget, number] for number in both) for name in (mine, peer))
                body.append((mine, peer, budget, len(both), _gain(ours, theirs)))
    return "\n" + table(("ours", "minus", "budget", "runs", "held-out, points"), body) + "\n" if body else ""


def _mean(runs: Iterable[Sequence[float]]) -> list[float]:
    """By case."""
    return [sum(grades) / len(grades) for grades in zip(*runs, strict=True)]


def row(one: Shipped, seed: Sequence[float]) -> tuple[object, ...]:
    mean, claim = f"{100 * sum(one.grades) / len(one.grades):.1f}%", f"{100 * one.found.claim:+.1f}"
    calls, verdict = one.found.evaluations, one.found.verdict or "-"
    return one.competitor, one.budget, one.number, calls, verdict, mean, _gain(one.grades, seed), claim


def _generations_text(seed: Sequence[float], bred: Sequence[tuple[int, Sequence[float]]]) -> str:
    if not bred:
        return ""
    rows, before = [], seed
    for number, (calls, grades) in enumerate(bred, start=1):
        level = max(1e-9, sum(before) / len(before))
        effect = paired_effect(grades, before, LEVEL)
        relative = f"{100 * effect.gain / level:+.1f}% [{100 * effect.low / level:+.1f}%, {100 * effect.high / level:+.1f}%]"
        rows.append((number, calls, f"{100 * sum(grades) / len(grades):.1f}%", relative))
        before = grades
    total = paired_effect(before, seed, LEVEL)
    mean = 100 * total.gain / max(1e-9, sum(seed) / len(seed)) / len(bred)
    told = f"\nGenetic algorithm, population {POPULATION}: mean relative gain a generation {mean:+.1f}%; target above 5%.\n\n"
    return told + table(("generation", "calls so far", "leader, held-out", "relative gain on the one before"), rows) + "\n"


def _gain(grades: Sequence[float], seed: Sequence[float]) -> str:
    effect = paired_effect(grades, seed, LEVEL)
    return f"{100 * effect.gain:+.1f} [{100 * effect.low:+.1f}, {100 * effect.high:+.1f}]"
