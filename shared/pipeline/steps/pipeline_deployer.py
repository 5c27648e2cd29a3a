"""`pipeline_deployer`: proposes a change to the guardrail; it never deploys by itself."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

from pydantic import Field

from shared.errors import InvalidInputError, NotFoundError
from shared.events.rollouts import RolloutPlan
from shared.pipeline.document import Document, Step
from shared.pipeline.step import StepContext, StepResult, Want
from shared.pipeline.steps.answers import Tally
from shared.pipeline.steps.base import BaseStepType, Options
from shared.pipeline.steps.candidates import chosen_among, read_pipeline
from shared.pipeline.template_text import as_text

Strategy = Literal["gradual_rollout", "immediate", "shadow"]


class DeployerConfig(Options):
    pipeline: str | dict[str, Any]
    """A document, a reference, or a template that gives one of these or a text that holds a document."""
    candidates: str | list[Any] | None = None
    """Documents among which `pipeline` may name the chosen one: by its name, `name@digest`, its digest or its number from 1. None:
    those that a `parallel_pipeline_executor` compared which the choice came from."""
    replaces: str = ""
    """Template of the pipeline whose next revision the chosen one is to be: its name, or its document, whose name and domain are
    taken over. Empty: the chosen one stays a pipeline of its own."""
    dataset_id: str = ""
    """Labelled cases on which it has to beat the stable revision in the sealed gate."""
    deployment_strategy: Strategy = "gradual_rollout"
    """`gradual_rollout`: must beat the stable revision in the sealed gate, then takes over by shadow and ramp; `immediate`:
    replaces it once approved; `shadow`: is recorded as an approved revision and serves nobody."""
    wait: float = Field(default=30.0, ge=0, le=3600)
    """Seconds to wait for the decision; after that it is `pending`."""
    reason: str = Field(default="", max_length=2000)


class PipelineDeployerOptions(Options):
    config: DeployerConfig


class PipelineDeployerStep(BaseStepType):
    """Value: `{change_id, decision, rollout_id}`; a veto is an answer, not an error."""

    type_names = ("pipeline_deployer",)
    options = PipelineDeployerOptions
    value_fields = ("change_id", "decision", "rollout_id")

    @staticmethod
    def templates(options: Any) -> tuple[tuple[str, Any], ...]:
        inline = isinstance(options.config.pipeline, Mapping)
        return tuple(
            each
            for each in BaseStepType.templates(options)
            if not each[0].startswith("config.candidates[") and not (inline and each[0].startswith("config.pipeline."))
        )

    @staticmethod
    def functions(options: Any) -> tuple[str, ...]:
        return ("get_pipeline",)

    @staticmethod
    def nested(options: Any) -> tuple[Any, ...]:
        return (options.config.pipeline,) if isinstance(options.config.pipeline, Mapping) else ()

    @staticmethod
    def wants(options: Any) -> tuple[tuple[str, Want], ...]:
        want: Want = "pipeline" if options.config.candidates is None else "choice"
        return ((options.config.pipeline, want),) if isinstance(options.config.pipeline, str) else ()

    @staticmethod
    def told_candidates(options: Any, candidates: Any) -> Any:
        if options.config.candidates is not None:
            return options
        return options.model_copy(update={"config": options.config.model_copy(update={"candidates": candidates})})

    async def run(self, step: Step, options: PipelineDeployerOptions, context: StepContext) -> StepResult:
        tally = Tally(context)
        config = options.config
        document = await _document(config, context)
        change = _change(document, config, context)
        answer = dict(await context.propose_change(change, config.wait))
        pending = answer.get("decision") == "pending"
        return StepResult(
            value=answer,
            text=as_text(answer),
            latency_seconds=tally.elapsed_seconds,
            warnings=(f"no decision within {config.wait} s",) if pending else (),
        )


async def _document(config: DeployerConfig, context: StepContext) -> Document:
    named = context.render(config.pipeline) if isinstance(config.pipeline, str) else config.pipeline
    candidates = _candidates(config, context)
    found = chosen_among(candidates, named)
    if found is not None:
        return found
    try:
        return await _read(named, context)
    except (InvalidInputError, NotFoundError) as error:
        if not candidates or not isinstance(named, str | int):
            raise
        said = f"{str(named)[:120]!r} names none of {_spoken(candidates)}, nor any other pipeline"
        raise InvalidInputError(f"{said}: {error}") from error


async def _read(named: Any, context: StepContext) -> Document:
    found = read_pipeline(named)
    if isinstance(found, Document):
        return found
    stored = await context.call_function("get_pipeline", {"pipeline": found})
    document = stored.get("document") if isinstance(stored, Mapping) else None
    checked = read_pipeline(document) if isinstance(document, Mapping) else None
    if not isinstance(checked, Document):
        raise InvalidInputError(f"pipeline `{found}` has no document to propose")
    return checked


def _candidates(config: DeployerConfig, context: StepContext) -> list[Document | None]:
    """In their order; None for what is no document and so cannot be the chosen one."""
    written = context.render(config.candidates) if isinstance(config.candidates, str) else config.candidates
    return [_readable(each) for each in written] if isinstance(written, list) else []


def _readable(written: Any) -> Document | None:
    try:
        document = read_pipeline(written)
    except InvalidInputError:
        return None
    return document if isinstance(document, Document) else None


def _spoken(candidates: list[Document | None]) -> str:
    names = [each.name for each in candidates if each is not None]
    return f"the candidates {', '.join(names)}" if names else f"the candidates (none of {len(candidates)} is a pipeline)"


def _as_next_of(replaced: Any, document: Document) -> Document:
    said = replaced if isinstance(replaced, Mapping) else {"name": as_text(replaced).strip()}
    taken = {key: said[key] for key in ("name", "domain") if said.get(key)}
    renamed = read_pipeline({**document.canonical(), **taken})
    assert isinstance(renamed, Document), "a map is read as a document"
    return renamed


def _change(document: Document, config: DeployerConfig, context: StepContext) -> dict[str, Any]:
    """Fields of `shared.events.changes.ProposeChange`; whoever runs the step adds id and author."""
    reason = as_text(context.render(config.reason)) if config.reason else f"proposed by a run of {context.run.pipeline}"
    document = _as_next_of(context.render(config.replaces), document)
    dataset_id = as_text(context.render(config.dataset_id)).strip()
    is_gradual = config.deployment_strategy == "gradual_rollout"
    return {
        "kind": "promotion" if is_gradual else "revision",
        "pipeline": document.name,
        "document": document.canonical(),
        "domain": document.domain,
        "deploy": config.deployment_strategy != "shadow",
        **({"dataset_id": dataset_id} if dataset_id else {}),
        **({"rollout": RolloutPlan().model_dump(mode="json")} if is_gradual else {}),
        "reason": f"{reason[:3000]} (deployment strategy: {config.deployment_strategy})",
    }
