"""`parallel_pipeline_executor`: every pipeline on every case as child runs, so that all executors share the work."""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Annotated, Any

from pydantic import BeforeValidator, Field, ValidationError

from shared.errors import InvalidInputError, StepLimitError
from shared.events.values import Case, GraderSpec, Usage
from shared.pipeline.document import Document, Step
from shared.pipeline.step import ChildRun, ChildSpec, StepContext, StepResult, Want
from shared.pipeline.steps.answers import Tally
from shared.pipeline.steps.base import BaseStepType, Options
from shared.pipeline.steps.candidates import read_pipeline

MAX_PIPELINES = 20
_NOT_INPUT = frozenset(("id", "expected", "split", "tags"))


def _graders(value: Any) -> Any:
    """A name, a map, or a list of either."""
    listed = value if isinstance(value, list | tuple) else [value]
    return [{"kind": each} if isinstance(each, str) else each for each in listed]


class ExecutorConfig(Options):
    pipelines: str | list[Any]
    """References, documents, texts that hold a document, envelopes of these; or a template that gives a list of them."""
    test_data: str | list[Any] | dict[str, Any]
    """Cases `{input, expected?, id?}`, plain inputs, a data set `{cases: [...]}`, or a template that gives one of these."""
    max_parallel: int = Field(default=4, ge=1, le=256)
    max_cases: int = Field(default=200, ge=1, le=5000)
    graders: Annotated[tuple[GraderSpec, ...], BeforeValidator(_graders)] = Field(default=(), max_length=5)
    """The first one gives `score`; all are in `scores`. Empty: inferred from the cases."""


class ParallelPipelineExecutorOptions(Options):
    config: ExecutorConfig


class ParallelPipelineExecutorStep(BaseStepType):
    """Value: `[{pipeline, digest, cases, score, interval, scores, latency_seconds, cost_usd, tokens, errors, error}]`.

    A pipeline that cannot be read or whose runs fail is a member with its errors; the step is then degraded."""

    type_names = ("parallel_pipeline_executor",)
    options = ParallelPipelineExecutorOptions

    @staticmethod
    def templates(options: Any) -> tuple[tuple[str, Any], ...]:
        # Documents that are written out hold templates of their own.
        return tuple(each for each in BaseStepType.templates(options) if not each[0].startswith("config.pipelines["))

    @staticmethod
    def nested(options: Any) -> tuple[Any, ...]:
        pipelines = options.config.pipelines
        return tuple(pipelines) if isinstance(pipelines, list) else (pipelines,)

    @staticmethod
    def wants(options: Any) -> tuple[tuple[str, Want], ...]:
        return ((options.config.pipelines, "pipelines"),) if isinstance(options.config.pipelines, str) else ()

    @staticmethod
    def compares(options: Any) -> Any:
        return options.config.pipelines

    async def run(self, step: Step, options: ParallelPipelineExecutorOptions, context: StepContext) -> StepResult:
        tally = Tally(context)
        config = options.config
        entries = _told_apart([_entry(number, written) for number, written in enumerate(_listed(step, config, context))])
        cases = _cases(step, config, context)
        children = {child.key: child for entry in entries for child in entry.children(cases)}
        runs = await context.run_children([*children.values()], config.max_parallel)
        by_key = dict(zip(children, runs, strict=True))
        value = [entry.report(cases, by_key, config.graders, context) for entry in entries]
        return _result(value, [*by_key.values()], tally)


@dataclass(frozen=True)
class _Entry:
    """`target` None: the pipeline could not be read, `error` says why."""

    label: str
    target: str | Document | None
    error: str = ""

    @property
    def identity(self) -> str:
        return self.target.digest if isinstance(self.target, Document) else str(self.target)

    def key(self, case: Case) -> str:
        return f"{self.identity}:{case.id}"

    def children(self, cases: Sequence[Case]) -> list[ChildSpec]:
        if self.target is None:
            return []
        inline = isinstance(self.target, Document)
        target: dict[str, Any] = {"document": self.target.canonical()} if isinstance(self.target, Document) else {}
        reference = None if inline else str(self.target)
        return [ChildSpec(key=self.key(case), reference=reference, inputs=case.input, **target) for case in cases]

    def report(
        self, cases: Sequence[Case], runs: Mapping[str, ChildRun], graders: Sequence[GraderSpec], context: StepContext
    ) -> dict[str, Any]:
        if self.target is None:
            return {**_EMPTY, "pipeline": self.label, "cases": len(cases), "errors": len(cases), "error": self.error}
        own = [runs[self.key(case)] for case in cases]
        failed = [run for run in own if run.status != "succeeded"]
        usage = sum((run.usage for run in own), Usage())
        return {
            "pipeline": self.label,
            "digest": next((run.digest for run in own if run.digest), ""),
            "cases": len(cases),
            **_scores(cases, own, graders, context),
            "latency_seconds": _median([run.latency_seconds for run in own]),
            "cost_usd": round(usage.cost_usd, 6),
            "tokens": usage.input_tokens + usage.output_tokens,
            "errors": len(failed),
            "error": failed[0].error[:500] if failed else "",
        }


_EMPTY: Mapping[str, Any] = {
    "digest": "",
    "score": None,
    "interval": None,
    "scores": {},
    "latency_seconds": None,
    "cost_usd": 0.0,
    "tokens": 0,
}


def _listed(step: Step, config: ExecutorConfig, context: StepContext) -> list[Any]:
    pipelines = context.render(config.pipelines) if isinstance(config.pipelines, str) else config.pipelines
    if isinstance(pipelines, Mapping):
        pipelines = [*pipelines.values()] if "steps" not in pipelines and "workflow" not in pipelines else [pipelines]
    if not isinstance(pipelines, list) or not pipelines:
        raise InvalidInputError(f"step `{step.name}`: config.pipelines must give a list of pipelines")
    if len(pipelines) > MAX_PIPELINES:
        raise StepLimitError("max_pipelines", f"step `{step.name}`: {len(pipelines)} pipelines, at most {MAX_PIPELINES}")
    return pipelines


def _entry(number: int, written: Any) -> _Entry:
    try:
        target = read_pipeline(written)
    except InvalidInputError as error:
        return _Entry(f"pipeline_{number + 1}", None, str(error)[:2000])
    return _Entry(target if isinstance(target, str) else target.name, target)


def _told_apart(entries: Sequence[_Entry]) -> list[_Entry]:
    """Different documents of one name are told by their digests: whoever chooses among them must be able to say which."""
    digests = {(entry.label, entry.identity) for entry in entries if isinstance(entry.target, Document)}
    shared = {name for name, count in Counter(name for name, _ in digests).items() if count > 1}
    return [replace(each, label=f"{each.label}@{each.identity[:12]}") if each.label in shared else each for each in entries]


def _cases(step: Step, config: ExecutorConfig, context: StepContext) -> list[Case]:
    data = context.render(config.test_data)
    if isinstance(data, Mapping) and "cases" in data:
        data = data["cases"]
    if not isinstance(data, list) or not data:
        raise InvalidInputError(f"step `{step.name}`: config.test_data must give a list of cases")
    if len(data) > config.max_cases:
        raise StepLimitError("max_cases", f"step `{step.name}`: {len(data)} cases, but max_cases is {config.max_cases}")
    cases = {case.id: case for case in (_case(step, index, written) for index, written in enumerate(data))}
    if len(cases) < len(data):
        raise InvalidInputError(
            f"step `{step.name}`: {len(data) - len(cases)} cases of config.test_data share their id with another"
        )
    return [*cases.values()]


def _case(step: Step, index: int, written: Any) -> Case:
    if not isinstance(written, Mapping):
        raise InvalidInputError(f"step `{step.name}`: case {index} of config.test_data is not a map")
    fields = {name: written[name] for name in Case.model_fields if name in written}
    if not isinstance(written.get("input"), Mapping):
        fields["input"] = {name: value for name, value in written.items() if name not in _NOT_INPUT}
    text = json.dumps(fields["input"], sort_keys=True, ensure_ascii=False)
    fields.setdefault("id", f"case-{index}-{hashlib.sha256(text.encode()).hexdigest()[:12]}")
    fields.setdefault("expected", None)
    try:
        return Case.model_validate(fields)
    except ValidationError as error:
        raise InvalidInputError(f"step `{step.name}`: case {index} of config.test_data: {error.errors()[0]['msg']}") from error


def _scores(cases: Sequence[Case], runs: Sequence[ChildRun], graders: Sequence[GraderSpec], context: StepContext) -> dict[str, Any]:
    """Without expected answers there is nothing to score: None."""
    if any(case.expected is None for case in cases):
        return {"score": None, "interval": None, "scores": {}}
    wanted: Sequence[GraderSpec | None] = graders or (None,)
    scores = [(grader.kind if grader else "inferred", context.score(grader, cases, runs)) for grader in wanted]
    first = scores[0][1]
    return {
        "score": round(first.mean, 6),
        "interval": [round(first.low, 6), round(first.high, 6)],
        "scores": {kind: round(score.mean, 6) for kind, score in scores},
    }


def _median(numbers: Sequence[float]) -> float:
    ordered = sorted(numbers)
    middle = len(ordered) // 2
    return ordered[middle] if len(ordered) % 2 else (ordered[middle - 1] + ordered[middle]) / 2


def _result(value: list[dict[str, Any]], runs: Sequence[ChildRun], tally: Tally) -> StepResult:
    warnings = tuple(
        f"{entry['pipeline']}: {entry['errors']} of {entry['cases']} failed: {entry['error']}" for entry in value if entry["errors"]
    )
    return StepResult(
        value=value,
        status="degraded" if warnings else "ok",
        usage=sum((run.usage for run in runs), Usage()),
        latency_seconds=tally.elapsed_seconds,
        warnings=warnings,
    )
