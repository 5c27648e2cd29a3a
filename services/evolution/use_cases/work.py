"""One prepared evolution on its way to a proposal: the seed measured, searched from, finalists confirmed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, replace

from services.evolution.domain.records import candidate_rows, lineage
from services.evolution.use_cases.bound import Effects, Evolution
from services.evolution.use_cases.evaluations import Assignment, Evaluations
from services.evolution.use_cases.pinning import moved
from services.evolution.use_cases.preparation import Prepared
from services.evolution.use_cases.progress import Progress
from services.evolution.use_cases.proposing import Order, proposed
from services.evolution.use_cases.rewriting import ModelRewriter
from services.evolution.use_cases.so_far import KeptArena
from services.evolution.use_cases.stopping import StoppedError, conclude
from shared.errors import PermanentError
from shared.events.changes import Evidence
from shared.events.improvement import EvolutionFinished, StartEvolution
from shared.evidence import grader_hash, score
from shared.search.candidates import Candidate, SearchResult
from shared.search.genome import why_little_can_change
from shared.search.menu import OperatorMenu
from shared.search.objectives import Weights, scale_of, weighted_value
from shared.search.operators import operators_for
from shared.search.plan import FINALISTS
from shared.search.strategies import STRATEGIES, FinalRound, Genetic, SearchOverError, Strategy, note_uses, run_finals
from shared.search.trade_offs import finalists_of, trade_offs_of
from shared.search.watching import Watch

_FIRST_LOOK = 8
_MOST_TEXT = 3000
"""Of what changed, as reviewers see it."""
_SEARCH_TIME_SHARE = 0.7
"""The rest of the time is the finalists'."""


class EvolutionWork:
    def __init__(self, prepared: Prepared, at: Evolution) -> None:
        self._prepared = prepared
        self._command = prepared.command
        self._at = at
        self._grader_hash = grader_hash(prepared.data.grader)
        self._order = Order(self._command.evolution_id, "search", self._command, prepared.document, self._grader_hash, at)
        self._progress = Progress(prepared.command, prepared.watch, at)
        assignment = Assignment(
            evolution_id=self._command.evolution_id,
            dataset_id=self._command.dataset_id,
            scope=prepared.scope,
            grader=prepared.data.grader,
            cases={case.id: case for case in prepared.data.cases},
            seed=self._command.seed,
        )
        self._evaluations = Evaluations(assignment, at, self._tick)
        plan = prepared.plan
        self._watch = Watch(prepared.seed, lambda: self._evaluations.spent, plan.search_evaluations)
        self._arena = KeptArena(self._evaluations, self._watch, self._command.evolution_id, self._grader_hash, at)
        self._strategy = strategy_of(self._command)
        self._moved: tuple[str, ...] = ()
        """That another revision became stable meanwhile."""
        self._left_out: tuple[str, ...] = ()
        self._unconfirmed = ""
        """Why nobody was confirmed although somebody might have been."""

    async def run(self) -> Effects:
        """Raises `PermanentError` where the stable revision itself gives no gradable answer at all."""
        async with self._progress.of(self._evaluations, self._watch, self._grader_hash):
            return await self._run()

    async def _run(self) -> Effects:
        await self._progress.tell("scope", f"granted until {self._prepared.scope.scope.expires_at}")
        self._enter_stage(self._prepared.plan.search_evaluations, _SEARCH_TIME_SHARE)
        await self._look_at_seed()
        found = await self._search()
        await self._remember(found)
        finals = await self._confirm(found)
        found = await self._traded_off(found, finals)
        self._moved = await moved(self._command.pipeline, self._prepared.seed.digest, self._at)
        if finals is None or finals.best is None:
            return await self._nothing(found, finals)
        return await self._propose(found, finals)

    async def _look_at_seed(self) -> None:
        cases = self._prepared.plan.search_cases[:_FIRST_LOOK]
        self._progress.enter("seed")
        try:
            (grades,) = await self._arena.measure([self._prepared.seed], cases)
        except SearchOverError as over:
            raise PermanentError(f"not even the stable revision could be measured: {over}") from over
        if all(grade is None for grade in grades):
            errors = self._evaluations.errors(self._prepared.seed.digest)
            raise PermanentError(f"the stable revision failed on {len(cases)} of {len(cases)} cases: {errors[0] if errors else ''}")
        first = score(grades, self._grader_hash)
        await self._progress.tell("seed", f"stable revision on its first {len(cases)} cases", first)

    async def _search(self) -> SearchResult:
        prepared = self._prepared
        self._progress.enter("search")
        rewriting = ModelRewriter(self._command.evolution_id, prepared.scope, self._at, self._command.seed)
        menu = OperatorMenu(
            operators_for(prepared.context),
            prepared.context,
            prepared.scope.scope,
            rewriting=rewriting if self._at.rewrites else None,
            failures=self._evaluations.failures,
        )
        found = await self._strategy.search(prepared.seed, prepared.plan.search_cases, self._arena, menu, self._command.seed)
        note_uses(found.archive, self._evaluations)
        return replace(found, reasons=(*found.reasons, *rewriting.told()))

    async def _traded_off(self, found: SearchResult, finals: FinalRound | None) -> SearchResult:
        """With front and menu, which are kept with the evolution."""
        best = finals.leading if finals else None
        told = trade_offs_of(found.archive, self._weights, best.candidate.digest if best else "")
        found = replace(found, trade_offs=told)
        assert found.trade_offs is not None
        kept = {"trade_offs": found.trade_offs.model_dump(mode="json")}
        await self._at.evolutions.update(self._command.evolution_id, kept)
        return found

    @property
    def _borrowed(self) -> tuple[str, ...]:
        """Pipelines that the order names: without them it is not the search that was ordered."""
        return tuple(donor.digest for donor in self._prepared.lenders.donors)

    @property
    def _weights(self) -> Weights:
        return Weights(**self._command.weights)

    async def _confirm(self, found: SearchResult) -> FinalRound | None:
        """None where there is nobody to confirm, or no time; that is told."""
        scale = scale_of(found.archive.entries)
        ranked = [found.archive[digest].candidate for digest in finalists_of(found, self._weights, len(found.archive))]
        chosen = (await self._in_use(ranked))[: FINALISTS - 1]
        if not chosen:
            return None
        self._enter_stage(self._command.evaluations, 1.0)
        await self._progress.tell("finalists", f"{len(chosen)} candidates on fresh cases")
        plan = self._prepared.plan
        try:
            await self._endure(found, [self._prepared.seed, *chosen])
            finals = await run_finals(
                self._prepared.seed,
                chosen,
                plan.fresh_cases,
                self._evaluations,
                min(self._evaluations.remaining, plan.final_evaluations),
                lambda entry, seed: weighted_value(entry, seed, self._weights, scale, known=found.archive),
            )
        except SearchOverError as over:
            self._unconfirmed = f"the finalists were not confirmed on fresh cases: {over}"
            return None
        for entry in (finals.seed, *finals.finalists):
            await self._order.tell_score(entry.candidate, list(entry.grades.values()))
        return finals

    async def _in_use(self, ranked: Sequence[Candidate]) -> list[Candidate]:
        """Without those that took steps from what was taken back meanwhile; that is told."""
        origins = {origin for candidate in ranked for origin in candidate.origins}
        out = await self._at.evolutions.quarantined(sorted(origins))
        kept = [candidate for candidate in ranked if not set(out).intersection(candidate.origins)]
        if len(kept) < len(ranked):
            names = ", ".join(digest[:12] for digest in out)
            left_out = f"{len(ranked) - len(kept)} candidates descend from {names}, which was taken back meanwhile"
            self._left_out = (f"{left_out}: none of them is proposed",)
        return kept

    async def _endure(self, found: SearchResult, finalists: Sequence[Candidate]) -> None:
        """Robustness of the finalists, at most half of what is left for them."""
        affordable = self._evaluations.remaining // (2 * len(finalists))
        cases = self._prepared.plan.fresh_cases[: min(self._command.fault_cases, affordable)]
        if not cases:
            return
        for candidate, row in zip(finalists, await self._evaluations.endured(finalists, cases), strict=True):
            found.archive[candidate.digest].faulted.update(zip(cases, row, strict=True))

    async def _propose(self, found: SearchResult, finals: FinalRound) -> Effects:
        assert finals.best is not None
        command, best = self._command, finals.best.candidate
        await self._order.refuse_quarantined(best.digest, *self._borrowed, *best.origins)
        pending = self._pending(found, finals)
        evidence = Evidence(
            kind="search",
            text=f"best of {len(found.archive)} candidates of a {command.strategy} search, on fresh dev cases",
            score=pending.search_best,
            baseline=pending.search_seed,
            calls=self._evaluations.spent,
            seconds=self._prepared.watch.elapsed(),
        )
        proposal = self._order.promotion(best, "; ".join((f"{best.operator}: {best.text}"[:_MOST_TEXT], *self._moved)), evidence)
        await self._progress.tell("gate", f"proposed {best.digest[:12]}", pending.search_best)
        await conclude(command.evolution_id, proposed(proposal, pending), self._at)
        return [("propose", proposal)]

    async def _nothing(self, found: SearchResult, finals: FinalRound | None) -> Effects:
        none = self._unconfirmed or "the search accepted no candidate"
        reason = "no finalist beat the stable revision on fresh cases" if finals else none
        pending = self._pending(found, finals)
        little = why_little_can_change(self._prepared.seed.document)
        reasons = tuple(filter(None, (*pending.reasons, reason, little)))
        answer = pending.model_copy(update={"reasons": reasons, "seconds": self._prepared.watch.elapsed()})
        ended = {"status": "finished", "answer": answer.model_dump(mode="json")}
        await conclude(self._command.evolution_id, ended, self._at)
        return [("finished", answer)]

    def _pending(self, found: SearchResult, finals: FinalRound | None) -> EvolutionFinished:
        """Everything that is known before the gate; the verdict is filled in by it."""
        best = finals.leading if finals else None
        return EvolutionFinished(
            evolution_id=self._command.evolution_id,
            pipeline=self._command.pipeline,
            verdict="no_candidate",
            seed_digest=self._prepared.seed.digest,
            best_digest=best.candidate.digest if best else "",
            strategy=self._command.strategy,
            operator=best.candidate.operator if best else "",
            search_seed=score(list(finals.seed.grades.values()), self._grader_hash) if finals else None,
            search_best=score(list(best.grades.values()), self._grader_hash) if best else None,
            evaluations=self._evaluations.spent,
            candidates=len(found.archive),
            lineage=lineage(found.archive, self._grader_hash),
            trade_offs=found.trade_offs,
            reasons=(*found.reasons, *self._left_out, *self._moved),
        )

    async def _remember(self, found: SearchResult) -> None:
        self._watch.add_point()
        await self._at.evolutions.keep_candidates(self._command.evolution_id, candidate_rows(found.archive, self._grader_hash))
        fields = {"archive_digest": found.archive.digest(), "curve": [asdict(point) for point in self._watch.points]}
        await self._at.evolutions.update(self._command.evolution_id, fields)

    async def _tick(self) -> None:
        if await self._at.evolutions.is_stopped(self._command.evolution_id):
            raise StoppedError(self._command.evolution_id)
        await self._order.refuse_quarantined(*self._borrowed)
        await self._progress.measured()

    def _enter_stage(self, evaluations: int, time_share: float) -> None:
        self._evaluations.limit = evaluations
        self._evaluations.deadline = self._prepared.watch.deadline(time_share)


def strategy_of(command: StartEvolution) -> Strategy:
    if command.strategy == "genetic":
        return Genetic(population=command.population, generations=command.generations)
    return STRATEGIES[command.strategy]()
