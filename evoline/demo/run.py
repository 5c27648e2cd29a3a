"""Runs the story against the running stack and writes the report."""

from __future__ import annotations

import platform
import time
from collections.abc import Callable
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path

from evoline.client.api import Client
from evoline.client.datasets import read_cases
from evoline.demo.report import DemoReport
from evoline.demo.story import DATASET, Sizes, Story
from shared.errors import UnavailableError
from shared.events import Fact
from shared.events.changes import ChangeApproved
from shared.events.runs import RunFinished


async def run_story(
    client: Client, pipelines_dir: Path, sizes: Sizes, *, tell: Callable[[str], None], on_fact: Callable[[Fact], None]
) -> DemoReport:
    """Raises `UnavailableError` where nothing could be proposed: then there is nothing to report on."""
    file = pipelines_dir / "examples" / f"{DATASET}.jsonl"
    began, started_at = time.monotonic(), datetime.now(UTC)
    story = Story(client, sizes, tell, on_fact)
    data = await story.register(list(read_cases(file)), str(file))
    request, answer = await story.generate()
    if answer.outcome == "no_candidate":
        raise UnavailableError(
            f"no candidate was worth proposing: {'; '.join(answer.reasons)}; see evoline show {request.request_id}"
        )
    verdict = await story.verdict(answer)
    approved = isinstance(verdict, ChangeApproved)
    samples = await story.samples(answer.pipeline) if approved else []
    heldout = await story.measure(answer.pipeline) if approved else None
    learned = await story.learn()
    evolved = await story.evolve(answer.pipeline) if approved else None
    return DemoReport(
        evoline=version("evoline"),
        python=platform.python_version(),
        started_at=started_at.isoformat(),
        seconds=round(time.monotonic() - began, 3),
        parts=story.parts,
        served_by=served_by(samples),
        data=data,
        request=request,
        answer=answer,
        verdict=verdict,
        document=await story.document(verdict),
        heldout=heldout,
        samples=samples,
        learned=learned,
        evolved=evolved,
        bus=await story.aggregates(),
        next=where_next(request.request_id, answer.pipeline, learned.mined.template_change_id),
    )


def served_by(samples: list[RunFinished]) -> list[str]:
    return sorted({f"{step.provider}/{step.model}" for run in samples for step in run.steps if step.provider})


def where_next(request_id: str, pipeline: str, template_change: str) -> list[str]:
    lines = [
        f"evoline show {pipeline}                 # revisions, deployment",
        f"evoline show {request_id}     # every candidate and its trial",
        "evoline runs --json                     # runs, with steps, tokens and the model that served",
        f"evoline evolve {pipeline} --dataset-id {DATASET} --budget 300",
        f"evoline rollback {pipeline} --reason 'just trying'",
        "evoline status; evoline logs guardrail",
    ]
    return [*lines, f"evoline show {template_change}"] if template_change else lines
