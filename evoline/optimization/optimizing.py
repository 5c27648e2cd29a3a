"""The story of one optimisation: check, search, confirm on fresh cases, certify once on sealed ones."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

from evoline.optimization.cases import expected_of
from evoline.optimization.finishing import finished
from evoline.optimization.given import check_given
from evoline.optimization.journal import Journal
from evoline.optimization.measuring import CountingArena, Evaluate
from evoline.optimization.menus import (
    CallersProposer,
    Menu,
    OutsideProposer,
    checking,
    explained,
    is_pipeline,
    lent,
    seed_of,
    usable_operators,
)
from evoline.optimization.outcome import Evidence, Outcome, Progress
from evoline.optimization.task import Task, as_case, fingerprint_of, plan_task
from shared.errors import InvalidInputError, Problem
from shared.evidence.paired import PairedTest, paired_test
from shared.evidence.scores import score
from shared.evidence.selection import claimable_gain
from shared.evidence.verdicts import judge_pairs
from shared.search.candidates import Archive, Candidate, OperatorContext, SearchResult
from shared.search.genome import why_little_can_change
from shared.search.objectives import Weights, scale_of, weighted_value
from shared.search.strategies import FINALIST_COUNT, STRATEGIES, FinalRound, SearchOverError, Strategy, note_uses, run_finals
from shared.search.trade_offs import finalists_of, trade_offs_of
from shared.search.watching import Watch, WatchedArena

OnProgress = Callable[[Progress], None]
_FIRST_LOOK = 8
_FAILURE_TOLERANCE = 0.05
_LABEL_KINDS = 20
_GRADER = "callable"
"""Graders of the services have a hash; a callable has none that would mean anything."""


def optimize(  # noqa: PLR0913  the signature is a promise; everything after the seed number has a default
    seed: Mapping[str, Any],
    evaluate: Evaluate,
    train: Sequence[Any],
    dev: Sequence[Any],
    sealed: Sequence[Any],
    budget: int,
    seed_number: int = 0,
    *,
    strategy: str | Strategy = "guided",
    proposer: CallersProposer | None = None,
    operators: Sequence[str] | None = None,
    workers: int = 1,
    alpha: float = 0.05,
    weights: Weights | Mapping[str, float] | None = None,
    borrow: Sequence[Mapping[str, Any]] = (),
    models: Sequence[str] = (),
    journal: Path | str | None = None,
    on_progress: OnProgress | None = None,
) -> Outcome:
    """Searches from `seed`, a pipeline document or a map of texts, for a candidate that scores better on `sealed`.

    `evaluate(candidate, case)` gives a score in [0, 1], or (score, feedback); cases are whatever it understands. `budget` counts
    every call of it, the gate's included, and is never passed. `train` is what operators may show and searches of texts may
    measure on; `dev` is searched on and, its other half, confirmed on; `sealed` is seen once, by the best candidate and the seed.
    `proposer(parent, feedback)` gives a candidate beside what `operators` (default: all that fit; `()` for none) propose.
    `evaluate` may give (score, feedback, use) with what is known of `tokens`, `cost_usd` and `seconds`: the outcome's front and
    menu tell them, and `weights` (`cost`, `latency`) lets the choice among finalists count them: 0.05 is what twice the seed's may
    cost in quality. For a pipeline, `borrow` are pipelines of other tasks, and templates with `[[ blanks ]]`, whose steps may be
    taken over, and `models` are what its steps may ask instead: `family:name`, cheapest first. With `journal`, a killed call goes
    on where it stopped. The same arguments give the same archive with any number of `workers`.

    Raises `InvalidInputError` with everything that is wrong: too few cases (with the number that would do), one label only,
    repeated cases, a budget too small, an invalid seed, or a seed of which every evaluation fails."""
    given = {"train": train, "dev": dev, "sealed": sealed}
    numbers = {"budget": budget, "workers": workers, "seed_number": seed_number, "alpha": alpha}
    choices = {"strategy": strategy, "operators": operators, "models": models, "borrow": borrow, "weights": weights}
    check_given(seed, evaluate, given, numbers | choices | {"proposer": proposer, "journal": journal, "on_progress": on_progress})
    budget, seed_number = int(budget), int(seed_number)
    first = seed_of(seed)
    _check_strategy(strategy)
    splits = {name: list(cases) for name, cases in given.items()}
    task = plan_task(first.document, splits, budget, seed_number, search_on_train=not is_pipeline(first.document))
    chosen = STRATEGIES[strategy]() if isinstance(strategy, str) else strategy
    weighing = _weights(weights)
    context = replace(_context(first, task), **lent(borrow), models=_model_names(models))
    own = usable_operators(first, operators, context)
    if not own and proposer is None:
        idle = f": {', '.join(sorted(set(operators)))} have nothing to work with here" if operators else ""
        suggestion = "give operators, with what they need (`borrow`, `models`), or a proposer"
        raise InvalidInputError(Problem(path="operators", reason=f"nothing can be proposed{idle}", suggestion=suggestion))
    # Another choice under the same file would pay more than the budget, and look at the sealed cases again.
    choice = fingerprint_of(
        task.fingerprint, chosen, [one.name for one in own], context.models, borrow, weighing, alpha, bool(proposer)
    )
    with Journal(Path(journal) if journal else None, choice) as notes:
        work = _Work(first, task, chosen, notes, seed_number, budget, alpha, weighing, on_progress or (lambda progress: None))
        arena = CountingArena(evaluate, task.cases, notes, workers=workers, on_measured=lambda: work.tell(arena))
        outside = OutsideProposer(proposer, first, arena, notes) if proposer else None
        menu = Menu(own, context, checking(first), outside)
        return finished(work.run(arena, menu, outside))


@dataclass(frozen=True)
class _Look:
    """Candidate and seed on the sealed cases."""

    ours: Sequence[float | None]
    theirs: Sequence[float | None]
    test: PairedTest


@dataclass
class _Work:
    seed: Candidate
    task: Task
    strategy: Strategy
    journal: Journal
    number: int
    budget: int
    alpha: float
    weights: Weights
    on_progress: OnProgress
    stage: Literal["search", "finals", "gate"] = "search"
    watch: Watch | None = None

    def tell(self, arena: CountingArena) -> None:
        watch = self.watch
        if watch is None:
            return
        operator = watch.accepted.operator if watch.accepted else ""
        self.on_progress(
            Progress(self.stage, arena.spent, self.budget, watch.candidates, watch.generation, watch.leader.mean, operator)
        )

    async def run(self, arena: CountingArena, menu: Menu, outside: OutsideProposer | None) -> Outcome:
        arena.limit = self.task.plan.search_evaluations
        watch = self.watch = Watch(self.seed, lambda: arena.spent, self.task.plan.search_evaluations)
        watched = WatchedArena(arena, watch)
        await self._look_at_seed(watched, arena)
        found = await self.strategy.search(self.seed, self.task.plan.search_cases, watched, menu, self.number)
        watch.add_point()
        note_uses(found.archive, arena)
        searched = arena.spent
        finals = await self._finals(found, arena)
        confirmed = arena.spent
        best = finals.best.candidate if finals and finals.best else None
        look = await self._gate(best, arena) if best else None
        evidence = Evidence(
            strategy=self.strategy.name,
            seed_number=self.number,
            budget=self.budget,
            spent={"search": searched, "finals": confirmed - searched, "gate": arena.spent - confirmed},
            candidates=len(found.archive),
            archive_hash=found.archive.digest(),
            alpha=self.alpha,
            failures=dict(arena.failures),
            proposals=dict(outside.counts) if outside else {},
            reasons=self._notes(found, arena, outside),
            best_digest=best.digest if best else "",
        )
        if best is None or look is None:
            reason = "no finalist beat the seed on fresh cases" if finals else "the search found nothing that seemed better"
            reasons = filter(None, (*evidence.reasons, reason, why_little_can_change(self.seed.document)))
            outcome = _kept(self.seed, replace(evidence, reasons=tuple(reasons)), found.archive)
        else:
            outcome = _judged(self.seed, best, look, evidence, found.archive)
        told = trade_offs_of(found.archive, self.weights, evidence.best_digest)
        return replace(outcome, trade_offs=told, curve=tuple(watch.points))

    async def _look_at_seed(self, watched: WatchedArena, arena: CountingArena) -> None:
        cases = self.task.plan.search_cases[:_FIRST_LOOK]
        (grades,) = await watched.measure([self.seed], cases)
        if all(grade is None for grade in grades):
            reason = f"all of its first {len(cases)} evaluations failed: {arena.failures.most_common(1)[0][0]}"
            raise InvalidInputError(Problem(path="seed", reason=reason, suggestion="mend `evaluate` or the seed"))

    async def _finals(self, found: SearchResult, arena: CountingArena) -> FinalRound | None:
        self.stage = "finals"
        plan = self.task.plan
        arena.limit = self.budget - self.task.gate_evaluations
        scale = scale_of(found.archive.entries)
        chosen = [found.archive[digest].candidate for digest in finalists_of(found, self.weights, FINALIST_COUNT)]
        if not chosen:
            return None
        try:
            return await run_finals(
                self.seed,
                chosen,
                plan.fresh_cases,
                arena,
                min(arena.remaining, plan.final_evaluations),
                lambda entry, seed: weighted_value(entry, seed, self.weights, scale),
            )
        except SearchOverError:
            return None

    async def _gate(self, best: Candidate, arena: CountingArena) -> _Look:
        self.stage = "gate"
        arena.limit = self.budget
        ours, theirs = await arena.measure([best, self.seed], self.task.sealed)
        return _Look(ours, theirs, paired_test(ours, theirs, self.alpha))

    def _notes(self, found: SearchResult, arena: CountingArena, outside: OutsideProposer | None) -> tuple[str, ...]:
        failed = sum(arena.failures.values())
        told = (f"{failed} evaluations failed, most often: {arena.failures.most_common(1)[0][0]}",) if failed else ()
        return (*self.task.notes, *found.reasons, *explained(outside), *told)


def _judged(seed: Candidate, best: Candidate, look: _Look, evidence: Evidence, archive: Archive) -> Outcome:
    test = look.test
    verdict, why, more = judge_pairs(look.ours, look.theirs, test, alpha=evidence.alpha, failure_tolerance=_FAILURE_TOLERANCE)
    evidence = replace(
        evidence,
        p_value=test.p_value_better,
        more_cases_needed=more,
        sealed_gain=(test.gain, test.gain_low, test.gain_high),
        seed_score=score(look.theirs, _GRADER),
        best_score=score(look.ours, _GRADER),
        reasons=(*evidence.reasons, *why),
    )
    if verdict == "rejected":
        return _kept(seed, evidence, archive)
    claim = claimable_gain(test, evidence.alpha) if verdict == "certified" else test.gain
    return Outcome(dict(best.document), verdict, claim, (test.gain_low, test.gain_high), evidence, archive)


def _kept(seed: Candidate, evidence: Evidence, archive: Archive) -> Outcome:
    """A rejected candidate is not what one gets: what is claimed of the seed is that it is the seed."""
    return Outcome(dict(seed.document), "rejected", 0.0, (0.0, 0.0), evidence, archive)


def _context(seed: Candidate, task: Task) -> OperatorContext:
    cases = [as_case(name, task.cases[name]) for name in task.train]
    shown = tuple(case for case in cases if case is not None)
    seen = (*task.train, *task.plan.search_cases, *task.plan.fresh_cases)  # never the sealed ones
    labels = {label for name in seen if isinstance(label := expected_of(task.cases[name]), str)}
    return OperatorContext(seed=seed.document, shown=shown, labels=tuple(sorted(labels)) if len(labels) <= _LABEL_KINDS else ())


def _model_names(models: Sequence[str]) -> tuple[str, ...]:
    wrong = [name for name in models if not name.startswith(("claude:", "gemini:")) or name.endswith(":")]
    if wrong:
        raise InvalidInputError(
            Problem(path="models", reason=f"{wrong[0]!r} names no model", suggestion="write claude:NAME or gemini:NAME")
        )
    return tuple(models)


def _weights(wanted: Weights | Mapping[str, float] | None) -> Weights:
    given = wanted.told if isinstance(wanted, Weights) else wanted or {}
    if unknown := sorted(set(given) - {"cost", "latency"}):
        raise InvalidInputError(
            Problem(
                path="weights", reason=f"there is no objective {', '.join(unknown)} here", suggestion="choose among cost, latency"
            )
        )
    return Weights(**given)


def _check_strategy(strategy: str | Strategy) -> None:
    if isinstance(strategy, str) and strategy not in STRATEGIES:
        names = ", ".join(sorted(STRATEGIES))
        raise InvalidInputError(
            Problem(path="strategy", reason=f"there is no strategy {strategy!r}", suggestion=f"choose among {names}")
        )
