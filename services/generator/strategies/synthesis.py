"""Candidates that a model writes: the meta pipeline `context_aware_pipeline_generator`, run by the executors like any other.

Its answer is a proposal in words and steps. Grounding makes a document of it: our names, the task's inputs, the answer's schema
and our limits, whatever the model wrote there. What does not parse or check is reported, never repaired into something else."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

from services.generator.domain.selection import Draft
from services.generator.domain.task import Task
from services.generator.domain.templates import escape, item_expression
from services.generator.ports import Metrics, Runs
from shared.events.message import derive_id
from shared.events.runs import ExecuteRun, RunFinished
from shared.events.values import Constraints

META_PIPELINE = "context_aware_pipeline_generator"
MODEL_STEPS = ("claude", "claude_extract", "claude_robust", "gemini")
LONGEST_PROMPT = 2000


class SynthesisStrategy:
    name = "synthesis"

    def __init__(
        self, runs: Runs, metrics: Metrics, constraints: Constraints, resources: Mapping[str, Any], seconds: float
    ) -> None:
        self._runs = runs
        self._metrics = metrics
        self._constraints = constraints
        self._resources = resources
        self._seconds = seconds

    async def drafts(self, task: Task) -> Sequence[Draft]:
        run_id = derive_id(task.request_id, "synthesis")
        command = ExecuteRun(
            run_id=run_id,
            pipeline=META_PIPELINE,
            purpose="meta",
            group_id=task.request_id,
            inputs={
                "requirements": task.requirements[:1500],
                "resources": {"inputs": list(task.input_names), "labels": list(task.labels), **self._resources},
                "constraints": self._constraints.model_dump(mode="json", exclude={"generation_seconds", "generation_calls"}),
                "metrics": await self._metrics.summary(task.domain),
            },
        )
        finished = await self._runs.run_all([command], max_in_flight=1, deadline_seconds=self._seconds)
        return [self._draft(task, finished.get(run_id))]

    def _draft(self, task: Task, run: RunFinished | None) -> Draft:
        origin = f"meta:{META_PIPELINE}"
        if run is None:
            return Draft(self.name, origin, None, (f"timed out after {self._seconds:.0f} s",))
        if run.status != "succeeded":
            return Draft(self.name, origin, None, (f"the meta run {run.run_id} ended {run.status}: {run.error}",))
        try:
            return Draft(self.name, origin, ground(task, run.outputs))
        except ValueError as error:
            return Draft(self.name, origin, None, (f"the model's answer is no pipeline: {error}",))


def ground(task: Task, answer: Any) -> dict[str, Any]:
    """A pipeline document from the model's proposal `{description, steps: [{name, type, prompt}]}`. Raises `ValueError`."""
    proposal = answer.get("answer", answer) if isinstance(answer, Mapping) else answer
    steps = proposal.get("steps") if isinstance(proposal, Mapping) else None
    if not isinstance(steps, Sequence) or isinstance(steps, str) or not 1 <= len(steps) <= 3:
        raise ValueError("it has no list of one to three steps")
    grounded = [_step(index, step, is_last=index == len(steps) - 1) for index, step in enumerate(steps)]
    _answer_step(task, grounded)
    last = grounded[-1]["name"]
    field = "label" if task.kind == "classify" else "answer"
    value = f"{{{{ steps.{last}.result }}}}" if task.kind == "extract" else f"{{{{ steps.{last}.result.{field} }}}}"
    description = str(proposal.get("description", "")) if isinstance(proposal, Mapping) else ""
    return {
        "name": task.pipeline,
        "description": description[:400],
        "domain": task.domain,
        "limits": {"seconds": 30, "steps": 6, "calls": 8, "tokens": 8000},
        "steps": grounded,
        "outputs": {"answer": value},
    }


def _step(index: int, step: Any, *, is_last: bool) -> dict[str, Any]:
    if not isinstance(step, Mapping) or not isinstance(step.get("prompt"), str) or not step["prompt"].strip():
        raise ValueError(f"step {index + 1} has no prompt")
    kind = step.get("type")
    if kind not in MODEL_STEPS:
        raise ValueError(f"step {index + 1} has the type {kind!r}")
    name = re.sub(r"[^a-z0-9_]+", "_", str(step.get("name", "")).lower()).strip("_")[:40]
    name = name if name and name[0].isalpha() else "step"
    # An object needs a schema, and only the last step gets the task's.
    kind = "claude" if kind == "claude_extract" and not is_last else kind
    # The prompt is the model's text, not a template: what it wrote in braces is data.
    return {
        "name": f"{name}_{index + 1}",
        "type": kind,
        "prompt": escape(step["prompt"].strip()[:LONGEST_PROMPT]),
        "max_tokens": 96,
    }


def _answer_step(task: Task, steps: list[dict[str, Any]]) -> None:
    """Ends every prompt with the item, and constrains the last step to the task's answer."""
    for before, step in zip([None, *steps], steps, strict=False):
        notes = f"\n\nNotes:\n{{{{ steps.{before['name']}.text }}}}" if before else ""
        step["prompt"] += f"{notes}\n\n{item_expression(task.input_names)}"
    last = steps[-1]
    if task.kind == "classify":
        last["prompt"] = f"{last['prompt']}\n\nAnswer with exactly one of: {escape(', '.join(task.labels))}."
        last["schema"] = {
            "type": "object",
            "properties": {"label": {"enum": list(task.labels)}},
            "required": ["label"],
            "additionalProperties": False,
        }
        last["max_tokens"] = 24
    else:
        last["schema"] = dict(task.answer_schema)
