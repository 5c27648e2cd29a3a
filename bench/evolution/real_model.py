"""Real tasks with the local model: what everybody ships, on held-out cases, at equal calls; and the gain per generation.

Every answer of the model is kept in `bench/recordings/evolution`, so that a bench that was interrupted goes on, and a bench
without the model's weights replays what was recorded."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from bench.evolution.competitors import installed, ready, solved
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
NUMBER = 0
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


def run(size: Size) -> None:
    parts: dict[str, str] = {}
    with LocalModel() as local:
        for task in TASKS[: size.real_tasks]:
            real = load(task, RecordedModel(RECORDINGS / f"{task.name}.jsonl", local))
            if real is None:
                parts[task.name] = f"### {task.name}\n\nNot measured: the task's file is not here."
                continue
            seed = held_out(real, task.seed, SMOKE_CASES if not size.real_budgets else None)
            shipped: list[Shipped] = []
            for one in _shipped(real, size.real_budgets):
                shipped.append(one)
                parts[task.name] = _task_text(task, seed, shipped)
                write_section(TITLE, _text(parts), size.results)
            bred = _generations(real) if size.real_budgets else []
            parts[task.name] = _task_text(task, seed, shipped) + _generations_text(seed, bred)
            write_section(TITLE, _text(parts), size.results)


def held_out(real: RealTask, texts: Mapping[str, str], count: int | None = None) -> list[float]:
    return [real.evaluate(texts, case) for case in real.held_out[:count]]


def _shipped(real: RealTask, budgets: Sequence[int]) -> Iterator[Shipped]:
    rows = Rows("real")
    ours: list[Competitor] = [kind(name) for name in OURS for kind in (Certified, SearchAlone)]
    for budget in budgets:
        for competitor in (*ours, *installed()):
            with ready(competitor):
                found = solved(rows, competitor, [real.task.name, default_model()], real.problem(budget, NUMBER))
            yield Shipped(competitor.name, budget, found, held_out(real, found.best))


def _generations(real: RealTask) -> list[tuple[int, list[float]]]:
    """(calls, held-out grades of the leader) after each of the first generations of the genetic algorithm."""
    rows, problem = Rows("real"), real.problem(BREEDING_CALLS, NUMBER)
    found = []
    for generations in range(1, GENERATIONS + 1):
        key = ["generations", code_of("genetic"), real.task.name, default_model(), generations]

        def bred(count: int = generations) -> tuple[int, dict[str, str]]:
            arena, strategy = _Arena(problem), Genetic(population=POPULATION, generations=count)
            seed = text_candidate(problem.seed)
            cases = (*problem.train, *problem.dev)
            result = asyncio.run(strategy.search(seed, cases, arena, TextProposer(problem.propose()), NUMBER))
            best = result.archive[result.ranking[0]].candidate.document if result.ranking else problem.seed
            return arena.spent, dict(best)

        calls, best = rows.get(key, bred)
        found.append((calls, held_out(real, best)))
    return found


def _text(parts: Mapping[str, str]) -> str:
    lines = [
        f"Local model `{default_model()}`, greedy, answers constrained by a schema. Texts: instruction, hints, examples, closing;",
        "the proposer that all share draws another phrasing, hint or closing, or changes the examples. 60 training, 60 dev and 60",
        f"gate cases, others held out; one run each (number {NUMBER}). Intervals: paired with the seed on the held-out cases, 95%.",
        "Target: at least +10 points over the seed where there is headroom, and not below any peer.\n",
    ]
    return "\n".join([*lines, *parts.values()])


def _task_text(task: Task, seed: Sequence[float], shipped: Sequence[Shipped]) -> str:
    head = f"### {task.name}\n\nSeed: {100 * sum(seed) / len(seed):.1f}% on {len(seed)} held-out cases.\n\n"
    columns = ("competitor", "budget", "calls", "verdict", "held-out", "gain over the seed, points", "claimed")
    return head + (table(columns, (_row(one, seed) for one in shipped)) + "\n" if shipped else "")


def _row(one: Shipped, seed: Sequence[float]) -> tuple[object, ...]:
    mean, claim = f"{100 * sum(one.grades) / len(one.grades):.1f}%", f"{100 * one.found.claim:+.1f}"
    return one.competitor, one.budget, one.found.evaluations, one.found.verdict or "-", mean, _gain(one.grades, seed), claim


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
