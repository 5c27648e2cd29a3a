"""What the demo writes to `.evoline/demo/report.json`; described field by field in docs/demo-report.md, which is made from here."""

from __future__ import annotations

import re
from typing import Any

from pydantic import BaseModel, ConfigDict, Field

from shared.events.changes import ChangeApproved, ChangeQueued, ChangeVetoed, GateFinished
from shared.events.datasets import PipelinesMeasured
from shared.events.generation import GeneratePipeline, RequestFinished
from shared.events.improvement import EvolutionFinished, PatternsMined
from shared.events.runs import RunFinished


class _Section(BaseModel):
    model_config = ConfigDict(frozen=True)


class Data(_Section):
    file: str
    dataset_id: str
    source: str
    license: str
    train: int = Field(description="cases that prompts may show")
    dev: int = Field(description="cases that candidates are tried on")
    sealed: int = Field(description="cases whose labels only the guardrail has")


class TemplateOutcome(_Section):
    change_id: str
    pipeline: str = Field(description="name of the template")
    status: str = Field(description="approved, vetoed or queued")
    decided_by: str = Field(default="", description="policy rule or person")
    risk: float = 0.0
    reasons: list[str] = []
    document: dict[str, Any]


class Learned(_Section):
    mined: PatternsMined = Field(description="patterns by counting, largest lift first")
    template: TemplateOutcome | None = Field(default=None, description="null where none was worth proposing")


class Evolved(_Section):
    finished: EvolutionFinished
    gate: GateFinished | None = Field(default=None, description="null where the search had nothing to propose")


class DemoReport(_Section):
    evoline: str = Field(description="version")
    python: str
    started_at: str = Field(description="RFC 3339, UTC")
    seconds: float = Field(description="wall time of the demo, installing not included")
    parts: dict[str, float] = Field(description="part of the demo -> its wall time in seconds")
    served_by: list[str] = Field(description="`provider/model` of every model that served an answer of a sample run")
    data: Data
    request: GeneratePipeline
    answer: RequestFinished = Field(description="the request's end with all candidates and their trials")
    verdict: ChangeApproved | ChangeVetoed | ChangeQueued = Field(
        description="who approved, why, under which policy, with the attestation"
    )
    document: dict[str, Any] = Field(description="the pipeline that was proposed")
    heldout: PipelinesMeasured | None = Field(
        default=None, description="scores on sealed cases, `pipeline` beside `one_step`; null where nothing was approved"
    )
    samples: list[RunFinished] = Field(description="runs of the deployed pipeline on inputs of our own")
    learned: Learned
    evolved: Evolved | None = Field(default=None, description="null where nothing was approved")
    bus: dict[str, Any] = Field(default_factory=dict, description="aggregates of analytics over all runs of the demo")
    next: list[str] = Field(description="commands to look around with")


def describe() -> str:
    """docs/demo-report.md."""
    lines = [
        "# The demo's report",
        "",
        "`make demo` writes `.evoline/demo/report.json`. Parts named after an event hold that event ([events.md](events.md)).",
        "Made from `evoline/demo/report.py`; a test keeps it current.",
        "",
    ]
    for section in (DemoReport, Data, Learned, TemplateOutcome, Evolved):
        lines += [f"## {section.__name__}", "", "| field | type | meaning |", "|---|---|---|"]
        lines += [
            f"| `{name}` | {_type(field.annotation)} | {field.description or ''} |" for name, field in section.model_fields.items()
        ]
        lines.append("")
    return "\n".join(lines)


def _type(annotation: Any) -> str:
    text = annotation.__name__ if isinstance(annotation, type) and "[" not in str(annotation) else str(annotation)
    return re.sub(r"\b(?:[a-z_]+\.)+(?=[A-Z])", "", text).replace("|", r"\|")
