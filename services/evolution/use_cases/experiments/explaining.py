"""A model puts the measured comparison into words. It decides nothing; where it names another winner, that is told."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from services.evolution.use_cases.experiments.bound import Laboratory
from shared.events.experiments import StartExperiment, VariantReport
from shared.events.message import derive_id
from shared.events.runs import ExecuteRun
from shared.events.values import GrantedScope

NOBODY = "none"
_LONGEST = 400
_ASK = """Variants of a pipeline were measured on the same {{ cases }} cases. Numbers are measured; take them as they are.
`gain` is the mean score minus that of the stable revision. A variant is better only where `verdict` says so.

{% for row in results %}{{ row.label }}: score {{ row.score }}, gain {{ row.gain }}, {{ row.use }}, verdict {{ row.verdict }}
{% endfor %}
`winner` is the name of the better variant, copied exactly, or none. Explain it in one sentence.
"""


@dataclass(frozen=True)
class Explanation:
    text: str = ""
    winner: str = ""
    """Label, `none`, or empty where the model named nothing that takes part."""
    reason: str = ""
    """Why there is none."""


def explaining_document(domain: str) -> dict[str, Any]:
    schema = {
        "type": "object",
        "properties": {"winner": {"type": "string", "maxLength": 64}, "explanation": {"type": "string", "maxLength": _LONGEST}},
        "required": ["winner", "explanation"],
        "additionalProperties": False,
    }
    step = {"name": "explain", "type": "claude_extract", "prompt": _ASK, "schema": schema, "max_tokens": 200}
    return {
        "name": "experiment_explanation",
        "description": "Puts a measured comparison of variants into words.",
        "domain": domain,
        "inputs": {"cases": {"type": "integer"}, "results": {"type": "array"}},
        "limits": {"seconds": 60, "steps": 2, "calls": 4, "tokens": 8000},
        "steps": [step],
        "outputs": {"winner": "{{ steps.explain.result.winner }}", "explanation": "{{ steps.explain.result.explanation }}"},
    }


async def explained(
    command: StartExperiment, found: Sequence[VariantReport], cases: int, scope: GrantedScope, at: Laboratory
) -> Explanation:
    """Allowed to fail: a comparison without words is complete."""
    run_id = derive_id(command.experiment_id, "explanation")
    order = ExecuteRun(
        run_id=run_id,
        inputs={"cases": cases, "results": [_row(each) for each in found]},
        document=explaining_document(scope.scope.domain),
        scope=scope,
        purpose="meta",
        group_id=command.experiment_id,
        seed=command.seed,
    )
    ended = await at.evolution.runs.run_all([order], max_in_flight=1, deadline_seconds=at.evolution.run_seconds)
    run = ended.get(run_id)
    if run is None or run.status != "succeeded" or not isinstance(run.outputs, Mapping):
        return Explanation(reason=f"no model explained it: {run.error or run.status if run else 'no answer in time'}")
    named = str(run.outputs.get("winner") or "")
    return Explanation(str(run.outputs.get("explanation") or "")[:_LONGEST], _known(named, found))


def disagreement(explanation: Explanation, winner: str) -> str:
    """Empty where model and statistics agree, or the model named nobody who takes part."""
    if not explanation.winner or explanation.winner == (winner or NOBODY):
        return ""
    by_statistics = f"name {winner}" if winner else "name no winner"
    return f"the model names {explanation.winner}, the statistics {by_statistics}: the statistics decide"


def _known(named: str, found: Sequence[VariantReport]) -> str:
    """Small differences of spelling are borne."""
    plain = {_plain(each.label): each.label for each in found} | {NOBODY: NOBODY}
    return plain.get(_plain(named), "")


def _plain(text: str) -> str:
    return re.sub(r"[^a-z0-9]+", "", text.lower())


def _row(report: VariantReport) -> dict[str, Any]:
    mean = round(report.score.mean, 3) if report.score else "not measured"
    gain = f"{report.gain:+.3f}" if report.gain is not None else "none"
    use = ", ".join(f"{name} {value:.4g}" for name, value in sorted(report.usage.items())) or "use unknown"
    return {"label": report.label, "score": mean, "gain": gain, "use": use, "verdict": report.verdict}
