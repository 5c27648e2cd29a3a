"""One prepared experiment on its way to a proposal: all measured on the same cases, compared, explained."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from services.evolution.domain.experiment_plan import ExperimentPlan, seen_detectable_gain
from services.evolution.domain.experiments import mean_use, reports
from services.evolution.domain.variants import STABLE, Entrant
from services.evolution.ports import LabelledCases
from services.evolution.use_cases.bound import Effects
from services.evolution.use_cases.evaluations import Assignment, Evaluations
from services.evolution.use_cases.experiments.bound import Laboratory
from services.evolution.use_cases.experiments.explaining import disagreement, explained
from services.evolution.use_cases.experiments.stopping import conclude
from services.evolution.use_cases.experiments.telling import tell
from services.evolution.use_cases.pinning import moved
from services.evolution.use_cases.proposing import Order, proposed
from services.evolution.use_cases.stopping import StoppedError
from services.evolution.use_cases.stopwatch import Stopwatch
from shared.errors import PermanentError
from shared.events.changes import Evidence, ProposeChange
from shared.events.experiments import ExperimentFinished, ExperimentStage, StartExperiment, VariantReport
from shared.events.values import GrantedScope
from shared.evidence import grader_hash
from shared.evidence.variants import Comparison, compare_variants
from shared.pipeline.document import Document
from shared.search.candidates import Candidate
from shared.search.menu import candidate_of
from shared.search.strategies import SearchOverError

_BATCH = 8
"""Cases that all meet before the next ones: whoever fails on all of the first batch is measured no further."""
Grades = dict[str, list[float | None]]


@dataclass(frozen=True)
class Ready:
    command: StartExperiment
    watch: Stopwatch
    stable: Document
    entrants: Sequence[Entrant]
    data: LabelledCases
    plan: ExperimentPlan
    scope: GrantedScope
    reasons: tuple[str, ...] = ()


class ExperimentWork:
    def __init__(self, ready: Ready, at: Laboratory) -> None:
        self._ready = ready
        self._command = ready.command
        self._at = at
        self._reasons = list(ready.reasons)
        self._grader_hash = grader_hash(ready.data.grader)
        self._order = Order(self._command.experiment_id, "experiment", self._command, ready.stable, self._grader_hash, at.evolution)
        self._baseline = candidate_of(ready.stable)
        self._candidates = {each.label: each.candidate for each in ready.entrants if each.candidate}
        assignment = Assignment(
            evolution_id=self._command.experiment_id,
            dataset_id=self._command.dataset_id,
            scope=ready.scope,
            grader=ready.data.grader,
            cases={case.id: case for case in ready.data.cases},
            seed=self._command.seed,
        )
        self._evaluations = Evaluations(assignment, at.evolution, self._tick)
        self._evaluations.limit = self._command.evaluations
        self._evaluations.deadline = ready.watch.deadline()

    async def run(self) -> Effects:
        """Raises `PermanentError` where the stable revision gives no gradable answer, or the time ends before anything is known."""
        await self._tell(
            "scope", f"{len(self._candidates)} variant(s) and the stable revision on {len(self._ready.plan.cases)} cases"
        )
        grades = await self._measure()
        await self._tell("comparing", f"on {len(grades[STABLE])} cases each")
        whole = {label: own for label, own in grades.items() if len(own) == len(grades[STABLE])}
        variants = {label: own for label, own in whole.items() if label != STABLE}
        comparison = compare_variants(grades[STABLE], variants, self._command.alpha, begun=len(self._candidates))
        found = self._with_usage(reports(self._ready.stable.digest, grades, self._ready.entrants, comparison, self._grader_hash))
        self._reasons += await moved(self._command.pipeline, self._ready.stable.digest, self._at.evolution)
        answer = await self._explained(found, comparison, whole)
        await self._tell_scores(grades)
        return await (self._propose(answer, found) if comparison.winner else self._nobody(answer))

    async def _measure(self) -> Grades:
        """Grades by label, on the same cases in the same order. Who failed on the whole first batch has no more than that."""
        racing = [STABLE, *self._candidates]
        grades: Grades = {label: [] for label in racing}
        cases = self._ready.plan.cases
        for start in range(0, len(cases), _BATCH):
            batch = cases[start : start + _BATCH]
            try:
                measured = await self._evaluations.measure([self._candidate(label) for label in racing], batch)
            except SearchOverError as over:
                self._cut_short(start, over)
                break
            for label, own in zip(racing, measured, strict=True):
                grades[label] += own
            await self._at.experiments.update(self._command.experiment_id, self._ready.watch.kept())
            await self._tell("measuring", f"{start + len(batch)} of {len(cases)} cases")
            racing = racing if start else self._still_racing(grades)
            if racing == [STABLE]:
                break
        return grades

    def _with_usage(self, found: Sequence[VariantReport]) -> tuple[VariantReport, ...]:
        return tuple(each.model_copy(update={"usage": mean_use(self._evaluations.uses(each.digest).values())}) for each in found)

    def _still_racing(self, grades: Grades) -> list[str]:
        """Those that answered anything of the first batch. Raises `PermanentError` where the stable revision did not."""
        silent = [label for label, own in grades.items() if all(grade is None for grade in own)]
        if STABLE in silent:
            raise PermanentError(
                f"the stable revision failed on each of its first {len(grades[STABLE])} cases: {self._error(STABLE)}"
            )
        self._reasons += [
            f"{label} failed on each of its first {len(grades[label])} cases: {self._error(label)}" for label in silent
        ]
        return [label for label in grades if label not in silent]

    def _cut_short(self, done: int, over: SearchOverError) -> None:
        if not done:
            raise PermanentError(f"not even the first cases could be measured: {over}") from over
        self._reasons.append(f"{over} after {done} of {len(self._ready.plan.cases)} cases")

    async def _explained(self, found: Sequence[VariantReport], comparison: Comparison, whole: Grades) -> ExperimentFinished:
        """Everything that is known before the gate. `whole`: grades of those that met all cases."""
        stable, others = whole[STABLE], [own for label, own in whole.items() if label != STABLE]
        cases = len(stable)
        await self._tell("explaining", f"winner: {comparison.winner or 'none'}")
        words = await explained(self._command, found, cases, self._ready.scope, self._at)
        told = disagreement(words, comparison.winner)
        reasons = [*self._reasons, *(text for text in (words.reason, told) if text)]
        return ExperimentFinished(
            experiment_id=self._command.experiment_id,
            pipeline=self._command.pipeline,
            outcome="no_winner",
            winner=comparison.winner,
            winner_digest=self._candidates[comparison.winner].digest if comparison.winner else "",
            stable_digest=self._ready.stable.digest,
            variants=tuple(found),
            alpha=self._command.alpha,
            cases=cases,
            detectable_gain=seen_detectable_gain(stable, others, len(self._candidates), self._command.alpha),
            explanation=words.text,
            model_winner=words.winner,
            disagreement=told,
            evaluations=self._evaluations.spent,
            reasons=tuple(reasons),
            seconds=self._ready.watch.elapsed(),
        )

    async def _propose(self, answer: ExperimentFinished, found: Sequence[VariantReport]) -> Effects:
        winner = self._candidates[answer.winner]
        await self._order.refuse_quarantined(winner.digest)
        report = next(each for each in found if each.label == answer.winner)
        proposal = self._proposal(winner, report, found[0])
        await self._tell("gate", f"{answer.winner} ({winner.digest[:12]}) is proposed")
        await conclude(self._command.experiment_id, proposed(proposal, answer), self._at)
        return [("propose", proposal)]

    def _proposal(self, winner: Candidate, report: VariantReport, baseline: VariantReport) -> ProposeChange:
        command = self._command
        interval = f"[{report.gain_low or 0:+.3f}, {report.gain_high or 0:+.3f}]"
        measured = f"{report.gain or 0:+.3f} {interval}, p = {report.p_adjusted:.4f} (Holm)"
        evidence = Evidence(
            kind="trial",
            text=f"A/B experiment of {len(self._candidates)} variant(s), {measured}",
            score=report.score,
            baseline=baseline.score,
            calls=self._evaluations.spent,
            seconds=self._ready.watch.elapsed(),
        )
        reason = f"variant {report.label} won experiment {command.experiment_id}: {measured}"
        return self._order.promotion(winner, reason, evidence, rollout=command.rollout)

    async def _nobody(self, answer: ExperimentFinished) -> Effects:
        more = max((each.more_cases_needed for each in answer.variants), default=0)
        hint = f"the most promising one needs {more} more cases" if more else "no number of further cases would show what was seen"
        told = answer.model_copy(update={"reasons": (*answer.reasons, f"no variant was shown better; {hint}")})
        fields = {"status": "finished", "answer": told.model_dump(mode="json")}
        await conclude(self._command.experiment_id, fields, self._at)
        return [("finished", told)]

    async def _tell_scores(self, grades: Grades) -> None:
        for label, own in grades.items():
            await self._order.tell_score(self._candidate(label), own)

    async def _tick(self) -> None:
        if await self._at.experiments.is_stopped(self._command.experiment_id):
            raise StoppedError(self._command.experiment_id)
        await self._order.refuse_quarantined()

    def _candidate(self, label: str) -> Candidate:
        return self._baseline if label == STABLE else self._candidates[label]

    def _error(self, label: str) -> str:
        return next(iter(self._evaluations.errors(self._candidate(label).digest)), "no gradable answer")

    async def _tell(self, stage: ExperimentStage, text: str) -> None:
        await tell(self._command, stage, text, self._evaluations.spent, self._at.evolution)
