"""One model call of a step: the request that a step makes, and what its answer is worth."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from shared.errors import InvalidInputError, ProviderError, ProviderRefusedError
from shared.events.values import Usage
from shared.pipeline.completion import ChatMessage, Completion, CompletionRequest, Family
from shared.pipeline.document import Step
from shared.pipeline.functions.json_text import read_json
from shared.pipeline.schema_validation import violations
from shared.pipeline.step import StepContext, StepResult, StepStatus
from shared.pipeline.template_text import DATA_RULE, as_text

DEFAULT_MAX_TOKENS = 512
DEFAULT_TIMEOUT_SECONDS = 60.0


def build_request(step: Step, context: StepContext, family: Family, *, is_rendered: bool = False) -> CompletionRequest:
    """The request of one step, rendered: system text, prompt, context section, schema, parameters.

    `is_rendered`: the prompt is text that another step made, so it is no template any more. Instructions come first and
    context last, so that the start of equal prompts stays equal (prompt caches)."""
    written = step.prompt or ""
    prompt = written if is_rendered else context.render_prompt(written)
    if not prompt.strip():
        raise InvalidInputError(f"step `{step.name}`: the prompt is empty")
    section = "" if is_rendered else context.context_section(written).strip()
    text = f"{prompt}\n\n{section}" if section else prompt
    return CompletionRequest(
        family=family,
        model=step.model,
        system=_system(step, context, has_data="<data" in text),
        messages=(ChatMessage(role="user", text=text),),
        json_schema=step.output_schema,
        max_tokens=step.max_tokens or context.run.answer_tokens or DEFAULT_MAX_TOKENS,
        temperature=step.temperature,
        seed=context.run.seed,
        timeout_seconds=step.timeout_seconds or context.run.answer_seconds or DEFAULT_TIMEOUT_SECONDS,
    )


def _system(step: Step, context: StepContext, *, has_data: bool) -> str:
    own = as_text(context.render(step.system)) if step.system else ""
    return "\n\n".join(part for part in (own, DATA_RULE if has_data else "") if part)


@dataclass(frozen=True)
class Answer:
    """A completion and the value read from it."""

    completion: Completion
    value: Any
    warnings: tuple[str, ...] = ()
    cache_hit: bool = False


def read_answer(completion: Completion, schema: dict[str, Any] | None, *, cache_hit: bool = False) -> Answer:
    """The text, or with a schema the validated value. Raises `ProviderRefusedError`, or `ProviderError("invalid_answer")`.

    An answer cut by its length cannot be whole JSON, so it fails where a schema is asked; cut text is kept with a warning."""
    if completion.stop == "refused":
        raise ProviderRefusedError(f"{completion.model} refused to answer")
    if completion.stop == "tool_use":
        raise ProviderError("invalid_answer", f"{completion.model} asked for tools instead of answering")
    if schema is None:
        return Answer(completion, completion.text, _text_warnings(completion), cache_hit)
    if completion.stop == "max_tokens":
        raise ProviderError("invalid_answer", f"the answer was cut after {completion.usage.output_tokens} tokens: raise max_tokens")
    value, warnings = _parsed(completion)
    problems = schema_problems(value, schema)
    if problems:
        raise ProviderError("invalid_answer", f"the answer does not fit the schema: {'; '.join(problems)}")
    return Answer(completion, value, warnings, cache_hit)


def schema_problems(value: Any, schema: dict[str, Any], limit: int = 8) -> list[str]:
    """What does not fit, as `$.field: reason`; at most `limit` of them."""
    return [f"{error.json_path}: {error.message[:200]}" for error in violations(value, schema)[:limit]]


def _parsed(completion: Completion) -> tuple[Any, tuple[str, ...]]:
    try:
        return read_json(completion.text)
    except ValueError as error:
        raise ProviderError("invalid_answer", f"the answer is not JSON: {error}") from error


def _text_warnings(completion: Completion) -> tuple[str, ...]:
    if not completion.text.strip():
        raise ProviderError("invalid_answer", f"{completion.model} answered with no text")
    if completion.stop == "max_tokens":
        return (f"the answer was cut after {completion.usage.output_tokens} tokens",)
    return ()


@dataclass
class Tally:
    """Counts what one execution of a step spends; every attempt at a provider counts, failed ones included."""

    context: StepContext
    attempts: int = 0
    usage: Usage = field(default_factory=Usage)
    started: float = field(init=False)

    def __post_init__(self) -> None:
        self.started = self.context.clock.monotonic()

    async def complete(self, request: CompletionRequest) -> Completion:
        self.attempts += 1
        completion = await self.context.complete(request)
        self.usage += completion.usage
        return completion

    async def ask(self, request: CompletionRequest, *, use_cache: bool = False) -> Answer:
        """One attempt, or with `use_cache` an earlier answer to the same request."""
        if use_cache:
            earlier = await self.context.cached_answer(request)
            if earlier is not None:
                return read_answer(earlier, request.json_schema, cache_hit=True)
        return read_answer(await self.complete(request), request.json_schema)

    def result(self, answer: Answer, *, status: StepStatus = "ok", warnings: Sequence[str] = ()) -> StepResult:
        completion = answer.completion
        return StepResult(
            value=answer.value,
            text=completion.text,
            status=status,
            usage=self.usage,
            latency_seconds=self.elapsed_seconds,
            attempts=self.attempts,
            provider=completion.provider,
            model=completion.model,
            cache_hit=answer.cache_hit,
            warnings=(*warnings, *answer.warnings),
        )

    @property
    def elapsed_seconds(self) -> float:
        return self.context.clock.monotonic() - self.started
