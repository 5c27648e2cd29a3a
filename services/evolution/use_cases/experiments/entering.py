"""Who takes part: variants that somebody gave, and those that the meta pipeline makes in a run like any other."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from services.evolution.domain.experiment_plan import least_cases
from services.evolution.domain.variants import Entrant, entrants, ground, told_apart
from services.evolution.ports import LabelledCases
from services.evolution.use_cases.experiments.bound import META_PIPELINE, Laboratory
from shared.errors import InvalidInputError, Problem
from shared.events.experiments import StartExperiment, Variant
from shared.events.message import derive_id
from shared.events.runs import ExecuteRun, RunFinished
from shared.pipeline.document import Document

_SHOWN_CASES = 8
"""Training cases that the meta pipeline has its variants tried on."""
_MOST_MADE = 3
_MOST_META_SECONDS = 600.0
NOTHING = Problem(
    path="variants", reason="an experiment without variants compares nothing", suggestion="give variants, or have some generated"
)


@dataclass
class Made:
    """What the meta pipeline gave, as it is remembered."""

    proposals: list[Any] = field(default_factory=list)
    winner: str = ""
    reason: str = ""
    """Why it gave nothing; empty where it did."""


async def enter(command: StartExperiment, stable: Document, data: LabelledCases, made: Made | None) -> list[Entrant]:
    """All variants, each with what is wrong with it. Raises `InvalidInputError` where a given one cannot take part, or none can."""
    found = entrants(stable, command.variants, "file")
    found += _grounded(stable, made) if made else []
    checked = told_apart(found, stable)
    require_given(checked)
    if not any(each.candidate for each in checked):
        problems = [problem for each in checked for problem in each.problems]
        raise InvalidInputError(
            [*problems, *([Problem(path="generate", reason=made.reason)] if made and made.reason else [])] or NOTHING
        )
    return checked


def require_given(found: Sequence[Entrant]) -> None:
    """Raises `InvalidInputError` with every problem of the variants that somebody gave: these are the author's to mend."""
    if problems := [problem for each in found if each.origin == "file" for problem in each.problems]:
        raise InvalidInputError(problems)


def require_budget(command: StartExperiment) -> None:
    """Before a model is asked for variants. Raises `InvalidInputError` where there are none, or even one would be too many."""
    if not command.variants and not command.generate:
        raise InvalidInputError(NOTHING)
    fewest = len(command.variants) or 1
    needed = least_cases(fewest, command.alpha)
    if command.evaluations < needed * (fewest + 1):
        most = fewest + (_MOST_MADE if command.generate and command.variants else _MOST_MADE - 1 if command.generate else 0)
        wanted = least_cases(most, command.alpha) * (most + 1)
        reason = f"{command.evaluations} evaluations cannot decide about {fewest} variant(s) and the stable revision"
        raise InvalidInputError(Problem(path="evaluations", reason=reason, suggestion=f"allow at least {wanted}"))


async def make(command: StartExperiment, attempt: int, stable: Document, data: LabelledCases, at: Laboratory) -> Made:
    """A run of the meta pipeline; that it failed is told, not raised."""
    known = await at.experiments.get(command.experiment_id)
    if known and known["made"]:
        return Made(**known["made"])
    run_id = derive_id(command.experiment_id, f"variants:{attempt}")
    shown = [case for case in data.cases if case.split == "train"] or list(data.cases)
    cases = [case.model_dump(mode="json", include={"id", "input", "expected"}) for case in shown[:_SHOWN_CASES]]
    order = ExecuteRun(
        run_id=run_id,
        pipeline=META_PIPELINE,
        purpose="meta",
        group_id=command.experiment_id,
        seed=command.seed,
        inputs={"pipeline_under_test": stable.canonical(), "test_dataset": cases, "deploys": False},
    )
    seconds = min(_MOST_META_SECONDS, command.seconds)
    ended = await at.evolution.runs.run_all([order], max_in_flight=1, deadline_seconds=seconds)
    made = _read(ended.get(run_id))
    await at.experiments.update(command.experiment_id, {"made": asdict(made)})
    return made


def _read(run: RunFinished | None) -> Made:
    if run is None:
        return Made(reason=f"{META_PIPELINE} did not end in time: does an executor run?")
    outputs = run.outputs if isinstance(run.outputs, Mapping) else {}
    proposals = outputs.get("variants")
    if run.status not in ("succeeded", "degraded") or not isinstance(proposals, list):
        return Made(reason=f"{META_PIPELINE} ended {run.status} without variants: {run.error or run.error_code}")
    return Made([_value(each) for each in proposals[:_MOST_MADE]], str(outputs.get("winner") or ""))


def _value(envelope: Any) -> Any:
    """A step's answer without what was noted about it."""
    return envelope.get("value") if isinstance(envelope, Mapping) and "value" in envelope else envelope


def _grounded(stable: Document, made: Made) -> list[Entrant]:
    found = []
    for number, proposal in enumerate(made.proposals):
        label = f"generated-{chr(ord('a') + number)}"
        try:
            variant = Variant(label=label, document=ground(stable.canonical(), proposal))
        except ValueError as error:
            found.append(Entrant(label, "generated", None, (Problem(path=f"variants.{label}", reason=str(error)),)))
            continue
        found += entrants(stable, (variant,), "generated")
    return found
