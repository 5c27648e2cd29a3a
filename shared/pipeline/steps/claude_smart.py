"""`claude_smart`: chooses model, token budget and temperature, and says why."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from pydantic import Field

from shared.errors import InvalidInputError
from shared.pipeline.document import Number, Step
from shared.pipeline.step import ModelRecord, RunLeft, StepContext, StepResult
from shared.pipeline.steps.answers import Tally, build_request
from shared.pipeline.steps.base import BaseStepType, Options
from shared.pipeline.steps.model_tiers import CLAUDE_TIERS, PRESETS, Preset, Tier

MIN_CALLS = 10
"""Fewer measured calls say nothing about a model."""
_Z = 1.96


class ClaudeSmartOptions(Options):
    preset: Preset | None = None
    """None: the preset of the environment that the run is in."""
    models: dict[Tier, str] = Field(default_factory=dict)
    """Models by tier, in place of the table's."""
    max_cost_usd: Number | None = Field(default=None, ge=0)
    """Of one call, as measured; dearer models are not chosen."""
    max_latency_seconds: Number | None = Field(default=None, gt=0)
    """Of one call, as measured; slower models are not chosen."""


class ClaudeSmartStep(BaseStepType):
    """Value: as `claude`; `selection` holds the choice and its reason."""

    type_names = ("claude_smart",)
    options = ClaudeSmartOptions
    families = ("claude",)
    requires_prompt = True
    answers_schema = True

    @staticmethod
    def max_calls(options: Any) -> int:
        return 1

    async def run(self, step: Step, options: ClaudeSmartOptions, context: StepContext) -> StepResult:
        tally = Tally(context)
        name = options.preset or context.run.preset
        if name not in PRESETS:
            raise InvalidInputError(f"unknown preset `{name}`; known: {', '.join(PRESETS)}")
        model, reason = await _model(step, options, name, context)
        preset = PRESETS[name]
        chosen = step.model_copy(
            update={
                "model": model,
                "max_tokens": step.max_tokens or context.run.answer_tokens or preset.max_tokens,
                "temperature": preset.temperature if step.temperature is None else step.temperature,
            }
        )
        result = tally.result(await tally.ask(build_request(chosen, context, "claude"), use_cache=step.cache))
        return result.model_copy(update={"selection": _selection(name, chosen, reason)})


async def _model(step: Step, options: ClaudeSmartOptions, preset: str, context: StepContext) -> tuple[str, str]:
    if step.model:
        return step.model, "the step names its model"
    tiers: Mapping[Tier, str] = {**CLAUDE_TIERS, **options.models}
    usual = tiers[PRESETS[preset].tier]
    measured = await context.model_records()
    records = {each.model: each for each in measured.records if each.family == "claude" and each.calls >= MIN_CALLS}
    fitting = fitting_models([*tiers.values()], records, options, context.left)
    model, reason = choose_model(usual, f"preset {preset}: {PRESETS[preset].why}", fitting, records)
    return model, f"{reason}; no record of models: {measured.missing}" if measured.missing else reason


@dataclass(frozen=True)
class Fitting:
    """Models that may be chosen."""

    models: Sequence[str]
    asked: Sequence[str]
    """Those that keep the step's own bounds."""
    left: RunLeft
    is_beyond: bool = False
    """None fits into what is left: the cheapest is taken all the same."""

    def reason(self, usual: str, model: str) -> str:
        if usual not in self.asked:
            return f"{usual} is beyond the cost or latency asked for; {model} is not"
        left = f"what the run has left (${self.left.cost_usd:.4g}, {self.left.seconds:.3g} s)"
        return f"{usual} is beyond {left}; {model} is {'the cheapest' if self.is_beyond else 'not'}"


def fitting_models(
    models: Sequence[str], records: Mapping[str, ModelRecord], options: ClaudeSmartOptions, left: RunLeft
) -> Fitting:
    """Those whose calls, as measured, keep the step's own bounds, and of these the ones that fit into what the run has left; where
    none does, the cheapest. A model without a record is taken to fit. Raises `InvalidInputError` where none keeps the bounds."""
    asked = [each for each in models if not _breaks(records.get(each), options.max_cost_usd, options.max_latency_seconds)]
    if not asked:
        raise InvalidInputError("every measured model is dearer than max_cost_usd or slower than max_latency_seconds")
    affordable = [each for each in asked if not _breaks(records.get(each), left.cost_usd, left.seconds)]
    if affordable:
        return Fitting(affordable, asked, left)
    cheapest = min((records[each] for each in asked if each in records), key=lambda each: (each.cost_usd, each.latency_seconds))
    return Fitting([cheapest.model], asked, left, is_beyond=True)


def choose_model(usual: str, why: str, fitting: Fitting, records: Mapping[str, ModelRecord]) -> tuple[str, str]:
    """(model, reason): the preset's model, unless it does not fit or a measured model is surely better.

    Surely better: its lower Wilson bound of success is above the usual model's upper bound."""
    known = (records[each] for each in fitting.models if each in records)
    best = min(known, key=lambda each: (-_wilson(each)[0], each.cost_usd, each.model), default=None)
    if usual not in fitting.models:
        model = best.model if best else fitting.models[0]
        return model, fitting.reason(usual, model)
    if best and usual in records and _wilson(best)[0] > _wilson(records[usual])[1]:
        shares = f"{best.successes}/{best.calls} against {records[usual].successes}/{records[usual].calls}"
        return best.model, f"measured better than {usual} in this domain: {shares} calls succeeded"
    return usual, why


def _breaks(record: ModelRecord | None, cost_usd: float | None, seconds: float | None) -> bool:
    if record is None:
        return False
    return (cost_usd is not None and record.cost_usd > cost_usd) or (seconds is not None and record.latency_seconds > seconds)


def _wilson(record: ModelRecord) -> tuple[float, float]:
    """95% interval of a share (Wilson 1927)."""
    n, share = record.calls, record.successes / record.calls
    center = share + _Z**2 / (2 * n)
    spread = _Z * math.sqrt(share * (1 - share) / n + _Z**2 / (4 * n * n))
    return (center - spread) / (1 + _Z**2 / n), (center + spread) / (1 + _Z**2 / n)


def _selection(preset: str, chosen: Step, reason: str) -> dict[str, Any]:
    return {
        "preset": preset,
        "family": "claude",
        "model": chosen.model,
        "max_tokens": chosen.max_tokens,
        "temperature": chosen.temperature,
        "reason": reason,
    }
