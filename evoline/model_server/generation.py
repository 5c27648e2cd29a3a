"""A chat request -> prompt tokens -> a slot -> generated text -> an answer."""

from __future__ import annotations

import asyncio
import itertools
import json
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, TypeVar

from evoline.model_server.chat import ChatAnswer, ChatRequest, RequestRefusedError, Spent, ToolUse, Turn, invalid
from evoline.model_server.constraints import Constraint, constraint_for
from evoline.model_server.engine import Engine, Generated, Job
from evoline.model_server.slots import Lease, SlotPool, shared

T = TypeVar("T")
LEAST_ROOM_TOKENS = 8
"""A prompt must leave at least this much of the context for its answer."""
LONGEST_CHOICE_TOKENS = 256
TOOL_INTRODUCTION = 'To call one of these tools, answer with nothing but a JSON object {"name": ..., "arguments": {...}}:'


class Call:
    """One call in flight: where its text goes, and whether its client is still there."""

    def __init__(self, on_text: Callable[[str], None] | None = None) -> None:
        self._on_text = on_text
        self._gone = threading.Event()

    def abandon(self) -> None:
        self._gone.set()

    @property
    def gone(self) -> bool:
        return self._gone.is_set()

    def abandons(self, _: str) -> bool:
        return self.gone

    def say(self, text: str) -> bool:
        if text and self._on_text and not self.gone:
            self._on_text(text)
        return self.gone


@dataclass(frozen=True)
class _Prompt:
    request: ChatRequest
    tokens: tuple[int, ...]
    constraint: Constraint | None
    choice_tokens: int
    """Tokens after which at least the likely spellings of all choices differ; 0 without choices."""


class Generation:
    """Bounded: at most `engine.slots` generate, at most `max_waiting` wait, whoever comes then is told to come back later."""

    def __init__(self, engine: Engine, max_waiting: int) -> None:
        self._engine = engine
        self._max_waiting = max_waiting
        self._pool = ThreadPoolExecutor(engine.slots + 4, thread_name_prefix="model")
        self.slots = SlotPool(engine.slots)
        self._running: set[Call] = set()

    async def answer(self, request: ChatRequest, call: Call) -> ChatAnswer:
        """Raises `RequestRefusedError`. Cancelling it, or `call.abandon()`, frees the slot within one step of the model."""
        if len(self._running) >= self._engine.slots + self._max_waiting:
            raise RequestRefusedError("overloaded", f"{len(self._running)} calls are here already; try again later")
        self._running.add(call)
        try:
            return await self._answer(request, call)
        except asyncio.CancelledError:
            call.abandon()
            raise
        finally:
            self._running.discard(call)

    async def count(self, request: ChatRequest) -> int:
        return len(await self._in_thread(self._tokens, request, ""))

    def abandon_all(self) -> None:
        for call in self._running:
            call.abandon()

    def close(self) -> None:
        """Abandons what runs, waits for it to notice, and closes the model."""
        self.abandon_all()
        self._pool.shutdown(wait=True, cancel_futures=True)
        self._engine.close()

    async def _answer(self, request: ChatRequest, call: Call) -> ChatAnswer:
        prompt = await self._in_thread(self._prepare, request)
        lease = await self.slots.acquire(prompt.tokens)
        running = asyncio.ensure_future(self._in_thread(self._run, prompt, lease, call, asyncio.get_running_loop()))
        try:
            generated = await asyncio.shield(running)
        except asyncio.CancelledError:
            call.abandon()
            raise
        finally:
            running.add_done_callback(partial(self._free, lease))
        if generated.stop == "abandoned":
            raise RequestRefusedError("overloaded", "the model server is stopping")
        return _answer_of(prompt, generated)

    def _free(self, lease: Lease, running: asyncio.Future[Generated]) -> None:
        """A slot is free when the engine has left it, not when its client has."""
        failed = running.cancelled() or running.exception() is not None
        self.slots.release(lease, evaluated=not failed and running.result().stop != "abandoned")

    def _prepare(self, request: ChatRequest) -> _Prompt:
        constraint = constraint_for(request)
        tokens = self._tokens(request, constraint.prefix if constraint else "")
        if len(tokens) + LEAST_ROOM_TOKENS > self._engine.context_tokens:
            raise invalid(f"prompt is too long: {len(tokens)} tokens > {self._engine.context_tokens - LEAST_ROOM_TOKENS} maximum")
        return _Prompt(request, tokens, constraint, self._choice_tokens(constraint))

    def _tokens(self, request: ChatRequest, opening: str) -> tuple[int, ...]:
        return self._engine.tokenize(self._engine.render(_turns(request), opening))

    def _choice_tokens(self, constraint: Constraint | None) -> int:
        if constraint is None or not constraint.choices:
            return 0
        spelled = sorted(self._engine.tokenize(choice) for choice in constraint.choices)
        return 1 + max((shared(one, other) for one, other in itertools.pairwise(spelled)), default=0)

    def _run(self, prompt: _Prompt, lease: Lease, call: Call, loop: asyncio.AbstractEventLoop) -> Generated:
        if lease.snapshot:
            self._engine.load(lease.slot, lease.snapshot)
        if not lease.keep_as:
            return self._generate(prompt, lease, call)
        read = self._engine.generate(Job(lease.slot, prompt.tokens, 0), call.abandons)
        if read.stop == "abandoned":
            return read
        self._engine.keep(lease.slot, lease.keep_as)
        loop.call_soon_threadsafe(self.slots.evaluated, lease)
        return replace(self._generate(prompt, lease, call), cached_tokens=read.cached_tokens)

    def _generate(self, prompt: _Prompt, lease: Lease, call: Call) -> Generated:
        request, constraint = prompt.request, prompt.constraint
        job = Job(
            slot=lease.slot,
            tokens=prompt.tokens,
            max_tokens=min(request.max_tokens, self._engine.context_tokens - len(prompt.tokens)),
            temperature=request.temperature,
            seed=request.seed,
            grammar=constraint.grammar if constraint else "",
            stop_sequences=request.stop_sequences,
        )
        if constraint is None:
            return self._engine.generate(job, call.abandons if request.tools else call.say)
        if constraint.choices:
            return self._choose(replace(job, max_tokens=prompt.choice_tokens), constraint, call)
        generated = self._engine.generate(job, call.abandons)
        return replace(generated, text=constraint.prefix + generated.text)

    def _choose(self, job: Job, constraint: Constraint, call: Call) -> Generated:
        """Generates until the text can be only one choice: mostly one token. A rare spelling takes the rest of its tokens."""
        generated = self._engine.generate(job, call.abandons)
        if generated.stop != "abandoned" and constraint.completed(generated.text) is None:
            generated = self._engine.generate(replace(job, max_tokens=LONGEST_CHOICE_TOKENS), call.abandons)
        text = constraint.completed(generated.text)
        if text is None:
            return generated
        return replace(generated, text=text, stop="end")

    async def _in_thread(self, work: Callable[..., T], *arguments: Any) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._pool, work, *arguments)


def _turns(request: ChatRequest) -> list[Turn]:
    """Neighbours of one role are joined, since chat templates want turns to alternate; tools are explained in the system text."""
    tools = [Turn("system", _tool_text(request))] if request.tools else []
    system = [turn for turn in request.turns if turn.role == "system"]
    joined: list[Turn] = []
    for turn in [*system, *tools, *(turn for turn in request.turns if turn.role != "system")]:
        if joined and joined[-1].role == turn.role:
            joined[-1] = Turn(turn.role, f"{joined[-1].text}\n\n{turn.text}")
        else:
            joined.append(turn)
    return joined


def _tool_text(request: ChatRequest) -> str:
    described = [
        json.dumps({"name": tool.name, "description": tool.description, "parameters": tool.parameters}, ensure_ascii=False)
        for tool in request.tools
    ]
    return "\n".join([TOOL_INTRODUCTION, *described])


def _answer_of(prompt: _Prompt, generated: Generated) -> ChatAnswer:
    spent = Spent(len(prompt.tokens), generated.cached_tokens, generated.output_tokens)
    if generated.stop == "max_tokens":
        return ChatAnswer(generated.text, "max_tokens", spent)
    tool = None if prompt.request.schema is not None else _tool_use(generated.text, prompt.request)
    return ChatAnswer("", "tool_use", spent, tool) if tool else ChatAnswer(generated.text, "end", spent)


def _tool_use(text: str, request: ChatRequest) -> ToolUse | None:
    """A call, if the whole answer is one; small models like to fence it and to rename `arguments`."""
    if not request.tools:
        return None
    bare = text.strip().removeprefix("```json").removeprefix("```").removesuffix("```").strip()
    try:
        value = json.loads(bare)
    except ValueError:
        return None
    if not isinstance(value, dict) or value.get("name") not in {tool.name for tool in request.tools}:
        return None
    arguments: dict[str, Any] = next(
        (value[key] for key in ("arguments", "parameters", "input") if isinstance(value.get(key), dict)), {}
    )
    return ToolUse(str(value["name"]), arguments)
