"""Representative pipelines of the crash matrix: together they cross every durable boundary that an executor has."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from services.executor.domain.limits.listed import LimitList, ProviderLimit
from shared.errors import ProviderError
from shared.events import Command
from shared.events.runs import CancelRun, ExecuteRun, ForkRun, PauseRun, ResumeRun, RetryRun, RunFinished, RunSuspended
from shared.events.transfer import ImportRun
from shared.pipeline.completion import CompletionRequest
from tests.fakes.cluster import trial_of
from tests.fakes.durable_boundaries import Place
from tests.fakes.language_model import Reply
from tests.fakes.run_files import file_of_run
from tests.fakes.world import Script, World

Document = dict[str, Any]


def asking(name: str, **keys: Any) -> Document:
    return {"name": name, "type": "claude", "prompt": f"{name}?", "context": "none", **keys}


def echo(request: CompletionRequest, _: int) -> Reply:
    return f"answer to {request.messages[-1].text}"


def failing_first(request: CompletionRequest, asked: int) -> Reply:
    text = request.messages[-1].text
    if text == "hopeless?" or (text == "flaky?" and asked == 0):
        return ProviderError("overload", "busy")
    return echo(request, asked)


def talkative(request: CompletionRequest, _: int) -> Reply:
    return request.messages[-1].text[:20] * 15_000


INNER: Document = {
    "name": "inner",
    "inputs": {"n": "integer"},
    "steps": [asking("first", prompt="first of {{ n }}?"), asking("second", prompt="second of {{ n }}?")],
    "outputs": {"said": "{{ steps.second.text }}"},
}
INNER_LARGE: Document = {**INNER, "inputs": {"n": "string"}, "steps": [asking("second")]}
NEST: Document = {"name": "nest", "type": "pipeline", "pipeline": INNER, "inputs": {"n": 1}}
LIMITS = LimitList(limits=(ProviderLimit(provider="local", requests_a_minute=60_000),))
RETRY = {"max_attempts": 3, "initial_seconds": 0.01, "max_seconds": 0.01}


def submitted(world: World) -> bool:
    return bool(world.batches.made)


Moment = Callable[[World], bool]
ALWAYS = 1000


def hanging(world: World) -> bool:
    return world.hanging.is_set()


def suspended(world: World) -> bool:
    return bool(world.broker.heard(RunSuspended))


def paused(world: World) -> bool:
    return any(fact.status == "paused" for _, fact in world.broker.heard(RunSuspended))


def ended(world: World) -> bool:
    return any(fact.run_id == "run-1" for _, fact in world.broker.heard(RunFinished))


@dataclass(frozen=True)
class Scenario:
    """`trouble` is refused in the first process whatever else the matrix breaks. The call of a step `hang` is never answered the
    first `hangs` times. `then` are commands that somebody sends, one after another, once something can be seen."""

    name: str
    document: Document
    status: str
    inputs: Mapping[str, Any] = field(default_factory=dict)
    script: Script = echo
    slots: int = 4
    trial: bool = False
    deployed: bool = True
    trouble: frozenset[Place] = frozenset()
    fails_until_told: bool = False
    """The call of a step `flaky` fails until the first of `then` was sent."""
    hangs: int = 0
    then: tuple[tuple[Moment, Command], ...] = ()
    run_id: str = "run-1"
    """The run whose end is the scenario's."""
    batch_polls: int = 0
    """How often a provider's batch is said to be in progress."""
    limits: LimitList = field(default_factory=LimitList)
    """What the provider allows."""
    copies: int = 1
    """How often the command is sent."""
    shadowed: bool = False
    """Each production run is repeated as a shadow."""
    body: bytes = b""
    """Sent instead of a command that can be read."""

    async def order(self, world: World) -> Command:
        world.script = self.script
        world.batches.polls = self.batch_polls
        world.limits = self.limits
        if self.fails_until_told:
            world.script = lambda request, _: failing_first(request, world.told)
        world.hangs = lambda request, asked: request.messages[-1].text == "hang?" and asked < self.hangs
        if self.trial:
            return trial_of(world, self.document, inputs=dict(self.inputs))
        if self.deployed:
            digest = await world.notary.deploy(world.guardrail, self.document)
            if self.shadowed:
                await _roll_out(world, self.document["name"], digest)
        return ExecuteRun(run_id="run-1", pipeline=self.document["name"], inputs=dict(self.inputs))


async def _roll_out(world: World, name: str, digest: str) -> None:
    rollout = {"rollout_id": "r1", "salt": "s", "share": 0.0, "shadow_share": 1.0, "shadow_runs": 9}
    update = {"canary": digest, "shadow": digest, "rollout": rollout}
    await world.guardrail.collection("deployments").update_if({"_id": name}, {"$set": update})


CANCEL = CancelRun(run_id="run-1", author="ann", reason="enough")
PAUSE = PauseRun(run_id="run-1", author="ann", reason="wait")
RESUME = ResumeRun(run_id="run-1", author="ann", reason="go on")
RETRY_RUN = RetryRun(run_id="run-1", author="ann", reason="again")
FORK = ForkRun(run_id="run-1", new_run_id="run-2", from_step="s1", inputs={"n": 2}, author="ann")
IMPORT = ImportRun(
    run_id="run-9", file=file_of_run("run-9", {"name": "foreign", "steps": [asking("a"), asking("b")]}), author="ann"
)
CANCELLED = ((hanging, CANCEL),)
PAUSED = ((hanging, PAUSE), (paused, RESUME))
LATER = {"max_attempts": 3, "initial_seconds": 0.1, "max_seconds": 0.1}
"""Waits long enough to give the place away meanwhile."""
MUCH_LATER = {"max_attempts": 3, "initial_seconds": 0.25, "max_seconds": 0.25}
WORD = {"name": "word", "type": "set_variable", "variable": "w", "value": "{{ loop.item }}"}
EACH = {"name": "each", "type": "for_loop", "items": [1, 2], "steps": [WORD, asking("ask", prompt="ask {{ loop.item }}?")]}
CANDIDATE = {"name": "better", "steps": [{"name": "s", "type": "set_variable", "variable": "v", "value": 1}]}
DEPLOY = {
    "name": "deploy",
    "type": "pipeline_deployer",
    "config": {"pipeline": "{{ candidate }}", "deployment_strategy": "immediate"},
}
CASES = [{"id": "a", "input": {"n": 1}}, {"id": "b", "input": {"n": 2}}]
TRY_OUT = {
    "name": "try",
    "type": "parallel_pipeline_executor",
    "config": {"pipelines": [INNER], "test_data": CASES, "max_parallel": 2},
}
HANGING = {"name": "inner", "steps": [asking("hang")]}
OUTER_OF_HANGING = {"name": "outer", "steps": [{"name": "nest", "type": "pipeline", "pipeline": HANGING}]}
FLAKY = {"name": "inner", "steps": [asking("s0"), asking("flaky")]}
ERRORS = {"errors": "{{ steps.try.result[0].errors }}"}

BATCH = {"name": "many", "type": "claude_batch", "prompts": ["a?", "b?"], "mode": "message_batches", "retry": RETRY}
HANDING = {
    "name": "handing",
    "steps": [asking("s0"), {**BATCH, "poll_seconds": 0.03}],
    "outputs": {"said": "{{ steps.many.text }}"},
}
POLLED = {"name": "handing", "execution": "dataflow", "steps": [{**BATCH, "poll_seconds": 0.01}]}
"""In a dataflow who waits stays where he is."""
WAITING = {"name": "handing", "steps": [{**BATCH, "poll_seconds": 0.12}]}
NEST_LARGE = {"name": "nest", "type": "pipeline", "pipeline": INNER_LARGE, "inputs": {"n": "{{ steps.s0.text }}"}}
FORKED = {
    "name": "forking",
    "inputs": {"n": "integer"},
    "steps": [asking("s0"), asking("s1", prompt="s1 of {{ n }}?"), asking("s2")],
}

SCENARIOS: tuple[Scenario, ...] = (
    Scenario("flat", {"name": "flat", "steps": [asking("s0"), asking("s1"), asking("s2")]}, "succeeded"),
    Scenario("shadow", {"name": "shadowed", "steps": [asking("s0")]}, "succeeded", shadowed=True),
    Scenario("dataflow", {"name": "flow", "execution": "dataflow", "steps": [asking("s0"), asking("s1")]}, "succeeded"),
    Scenario("loop", {"name": "looping", "steps": [EACH, asking("last", when="false")]}, "succeeded"),
    Scenario("retries", {"name": "retrying", "steps": [asking("flaky", retry=RETRY)]}, "succeeded", script=failing_first),
    Scenario(
        "fallback",
        {"name": "falling", "steps": [asking("hopeless", on_error={"fallback": asking("instead")}), asking("s1")]},
        "degraded",
        script=failing_first,
    ),
    Scenario("failed", {"name": "failing", "steps": [asking("s0"), asking("hopeless")]}, "failed", script=failing_first),
    Scenario("refused", {"name": "unknown", "steps": [asking("s0")]}, "refused", deployed=False),
    Scenario("nested here", {"name": "outer", "steps": [asking("s0"), NEST]}, "succeeded", slots=1),
    Scenario("nested over the bus", {"name": "outer", "steps": [NEST, asking("s1")]}, "succeeded"),
    Scenario(
        "children side by side",
        {"name": "trying", "steps": [TRY_OUT], "outputs": ERRORS},
        "succeeded",
        trial=True,
    ),
    Scenario("session", {"name": "chat", "steps": [asking("talk", type="claude_session"), asking("s1")]}, "succeeded"),
    Scenario("kept answer", {"name": "keeping", "steps": [asking("keep", cache=True), asking("s1")]}, "succeeded"),
    Scenario(
        "large values",
        {"name": "large", "steps": [asking("s0"), NEST_LARGE], "outputs": {"said": "{{ steps.nest.result.said }}"}},
        "succeeded",
        script=talkative,
    ),
    Scenario("trial", {"name": "trying", "steps": [asking("s0"), asking("s1")]}, "succeeded", trial=True),
    Scenario("trial of a parent", {"name": "outer", "steps": [NEST]}, "succeeded", trial=True),
    Scenario("proposal", {"name": "deploying", "steps": [DEPLOY]}, "succeeded", inputs={"candidate": CANDIDATE}, trial=True),
    Scenario("cancelled", {"name": "hanging", "steps": [asking("s0"), asking("hang")]}, "cancelled", hangs=ALWAYS, then=CANCELLED),
    Scenario(
        "given back",
        {"name": "flat", "steps": [asking("s0")]},
        "succeeded",
        trouble=frozenset({Place("runs.update", 0)}),
    ),
    Scenario("cancelled parent", OUTER_OF_HANGING, "cancelled", hangs=ALWAYS, then=CANCELLED),
    Scenario("cancelled parent, child here", OUTER_OF_HANGING, "cancelled", hangs=ALWAYS, then=CANCELLED, slots=1),
    Scenario(
        "paused", {"name": "holding", "steps": [asking("s0"), asking("hang"), asking("s1")]}, "succeeded", hangs=1, then=PAUSED
    ),
    Scenario("paused parent", OUTER_OF_HANGING, "succeeded", hangs=1, then=PAUSED, slots=1),
    Scenario(
        "parked", {"name": "waiting", "steps": [asking("s0"), asking("flaky", retry=LATER)]}, "succeeded", script=failing_first
    ),
    Scenario(
        "cancelled while it waits",
        {"name": "waiting", "steps": [asking("hopeless", retry=MUCH_LATER)]},
        "cancelled",
        script=failing_first,
        then=((suspended, CANCEL),),
    ),
    Scenario(
        "paused while it waits",
        {"name": "waiting", "steps": [asking("flaky", retry=MUCH_LATER)]},
        "succeeded",
        fails_until_told=True,
        then=((suspended, PAUSE), (paused, RESUME)),
    ),
    Scenario(
        "retried",
        {"name": "failing", "steps": [asking("s0"), asking("flaky")]},
        "succeeded",
        fails_until_told=True,
        then=((ended, RETRY_RUN),),
    ),
    Scenario(
        "retried parent",
        {"name": "outer", "steps": [{"name": "nest", "type": "pipeline", "pipeline": FLAKY}]},
        "succeeded",
        fails_until_told=True,
        then=((ended, RETRY_RUN),),
    ),
    Scenario("limited", {"name": "flat", "steps": [asking("s0"), asking("s1")]}, "succeeded", limits=LIMITS),
    Scenario("batch", HANDING, "succeeded", trial=True, batch_polls=1),
    Scenario("cancelled amid a batch", POLLED, "cancelled", batch_polls=ALWAYS, then=((submitted, CANCEL),)),
    Scenario("cancelled while it waits for a batch", WAITING, "cancelled", batch_polls=ALWAYS, then=((suspended, CANCEL),)),
    Scenario("forked", FORKED, "succeeded", inputs={"n": 1}, then=((ended, FORK),), run_id="run-2"),
    Scenario("imported", {"name": "flat", "steps": [asking("s0")]}, "succeeded", then=((ended, IMPORT),)),
    Scenario("trial asked for twice", {"name": "trying", "steps": [asking("s0")]}, "succeeded", trial=True, copies=2),
    Scenario("unreadable", {"name": "flat", "steps": [asking("s0")]}, "", body=b'{"run_id": "run-1", "unknown": 1}'),
)
