"""`claude_session`: a named conversation that goes on across runs, processes and restarts."""

from __future__ import annotations

from typing import Any

from pydantic import Field

from shared.errors import FencedError, InvalidInputError, UnavailableError
from shared.pipeline.completion import ChatMessage, CompletionRequest
from shared.pipeline.document import Step
from shared.pipeline.functions.json_text import read_json
from shared.pipeline.step import RunInfo, Session, StepContext, StepResult
from shared.pipeline.steps.answers import Answer, Tally, build_request
from shared.pipeline.steps.base import BaseStepType, Options
from shared.pipeline.template_text import as_text

CHARACTERS_PER_TOKEN = 4
"""Rule of thumb of the providers for English text; the window is a bound on size, not a count."""
SUMMARY_INSTRUCTION = "Summarise this conversation in at most 150 words. Keep facts, decisions, names and numbers."
SUMMARY_MAX_TOKENS = 256
MAX_CONFLICTS = 3
_PERSISTENT_PURPOSES = frozenset(("production", "meta"))


class ClaudeSessionOptions(Options):
    session: str | None = Field(default=None, min_length=1, max_length=200)
    """Name of the conversation, may be a template; pipelines that use one name share it. None: the step's own."""
    max_context_tokens: int = Field(default=6000, ge=100, le=1_000_000)
    """Window of the transcript that is sent; older messages are put into a summary."""
    keep_messages: int = Field(default=4, ge=2, le=100)
    """Latest messages that are never summarised."""


class ClaudeSessionStep(BaseStepType):
    """Value: text, or the object of `schema`."""

    type_names = ("claude_session",)
    options = ClaudeSessionOptions
    families = ("claude",)
    requires_prompt = True
    answers_schema = True

    @staticmethod
    def max_calls(options: Any) -> int:
        return 2

    async def run(self, step: Step, options: ClaudeSessionOptions, context: StepContext) -> StepResult:
        tally = Tally(context)
        request = build_request(step, context, "claude")
        name = session_name(options.session, step, context)
        for _ in range(MAX_CONFLICTS):
            answer = await _exchange(await context.load_session(name), request, options, tally)
            if answer is not None:
                return answer
        raise UnavailableError(f"session `{name}` is written by others all the time", retry_after_seconds=1.0)


def session_name(written: str | None, step: Step, context: StepContext) -> str:
    """Conversations never cross tenants. Trials and evaluations talk in a conversation of their own, so that no case hears of
    another."""
    run: RunInfo = context.run
    own = as_text(context.render(written)).strip() if written else f"{run.pipeline}/{step.name}"
    if not own:
        raise InvalidInputError(f"step `{step.name}`: the session's name is empty")
    return f"{run.tenant}/{own}" if run.purpose in _PERSISTENT_PURPOSES else f"{run.tenant}/{own}/{run.run_id}"


async def _exchange(session: Session, request: CompletionRequest, options: ClaudeSessionOptions, tally: Tally) -> StepResult | None:
    """One question and answer in the transcript; None where another writer was faster."""
    context = tally.context
    exchange = f"{context.run.run_id}:{context.run.position}"
    if session.last_exchange == exchange and session.messages:
        # The run was resumed after its answer had been stored: asking again would put the exchange in twice.
        return _stored_answer(session, request, tally)
    session, warnings = await _trimmed(session, request, options, tally)
    answer = await tally.ask(_in_session(session, request))
    messages = (*session.messages, request.messages[-1], ChatMessage(role="assistant", text=answer.completion.text))
    try:
        await context.save_session(session.model_copy(update={"messages": messages, "last_exchange": exchange}))
    except FencedError:
        return None
    return tally.result(answer, warnings=warnings)


def _stored_answer(session: Session, request: CompletionRequest, tally: Tally) -> StepResult:
    text = session.messages[-1].text
    value = text if request.json_schema is None else read_json(text)[0]
    return StepResult(value=value, text=text, cache_hit=True, attempts=0, latency_seconds=tally.elapsed_seconds)


def _in_session(session: Session, request: CompletionRequest) -> CompletionRequest:
    parts = [request.system, f"Summary of the conversation so far:\n{session.summary}" if session.summary else ""]
    system = "\n\n".join(part for part in parts if part)
    return request.model_copy(update={"system": system, "messages": (*session.messages, *request.messages)})


async def _trimmed(
    session: Session, request: CompletionRequest, options: ClaudeSessionOptions, tally: Tally
) -> tuple[Session, tuple[str, ...]]:
    """The session within its window: whole exchanges are taken from its start and put into the summary."""
    room = options.max_context_tokens - _tokens(request.messages) - _tokens_of(session.summary)
    if _tokens(session.messages) <= room:
        return session, ()
    kept = list(session.messages)
    while len(kept) > options.keep_messages and _tokens(kept) > room:
        del kept[:2]
    old = session.messages[: len(session.messages) - len(kept)]
    if not old:
        return session, ("the latest messages alone are beyond the window",)
    summary = await _summary(session.summary, old, request, tally)
    trimmed = session.model_copy(update={"summary": summary.completion.text.strip(), "messages": tuple(kept)})
    return trimmed, (f"{len(old)} older messages were summarised",)


async def _summary(former: str, old: tuple[ChatMessage, ...], request: CompletionRequest, tally: Tally) -> Answer:
    lines = [f"Earlier summary: {former}"] if former else []
    lines += [f"{message.role}: {message.text}" for message in old]
    transcript = "\n".join(lines).replace("<", "&lt;")
    text = f"{SUMMARY_INSTRUCTION}\n\n<data>\n{transcript}\n</data>"
    asked = request.model_copy(
        update={
            "system": "",
            "json_schema": None,
            "max_tokens": SUMMARY_MAX_TOKENS,
            "messages": (ChatMessage(role="user", text=text),),
        }
    )
    return await tally.ask(asked)


def _tokens(messages: list[ChatMessage] | tuple[ChatMessage, ...]) -> int:
    return sum(_tokens_of(message.text) for message in messages)


def _tokens_of(text: str) -> int:
    return -(-len(text) // CHARACTERS_PER_TOKEN)
