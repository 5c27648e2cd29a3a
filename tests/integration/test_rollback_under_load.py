"""A rollback while runs are asked for as fast as the fleet takes them: what is counted are starts and ids, never seconds."""

from __future__ import annotations

import asyncio
import contextlib
import uuid
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from pydantic import SecretStr

from services.executor.app import create_app as create_executor
from services.executor.settings import ExecutorSettings
from shared.attestation import create_key_pair
from shared.events.deployments import PipelineDeployed, PipelineRolledBack, RollbackPipeline
from shared.events.runs import ExecuteRun, RunFinished, RunStarted
from shared.messaging.bus import Bus
from shared.service import Application
from shared.settings import SharedSettings
from tests.conftest import OpenBus
from tests.eventually import eventually
from tests.fakes.guardrail import pipeline, proposal
from tests.fakes.people import own
from tests.integration.test_guardrail_service import StartGuardrail, start_guardrail

__all__ = ["start_guardrail"]
pytestmark = pytest.mark.usefixtures("empty_streams")
EXECUTORS, SLOTS, RUNS = 3, 2, 30


def saying(word: str, name: str = "triage", **fields: Any) -> dict[str, Any]:
    return pipeline(name=name, steps=[{"name": "classify", "type": "set_variable", "variable": "label", "value": word}], **fields)


@dataclass
class Seen:
    """Facts as the stream has them: (sequence, fact)."""

    bus: Bus
    facts: list[tuple[int, Any]] = field(default_factory=list)

    def of(self, kind: type, **wanted: Any) -> list[tuple[int, Any]]:
        return [
            (sequence, fact)
            for sequence, fact in self.facts
            if isinstance(fact, kind) and all(getattr(fact, name) == value for name, value in wanted.items())
        ]

    async def one(self, kind: type, **wanted: Any) -> Any:
        found: list[tuple[int, Any]] = await eventually(lambda: self.of(kind, **wanted), 60)
        return found[0][1]

    async def send(self, message: Any) -> None:
        await own(self.bus, message).publish(message, cause=uuid.uuid4().hex)

    async def ask(self, count: int, reference: str = "triage") -> list[str]:
        commands = [ExecuteRun(run_id=uuid.uuid4().hex, pipeline=reference, inputs={"text": "hello"}) for _ in range(count)]
        await asyncio.gather(*(self.send(command) for command in commands))
        return [command.run_id for command in commands]

    async def ends(self, run_ids: list[str]) -> list[RunFinished]:
        wanted = set(run_ids)
        await eventually(lambda: wanted <= {fact.run_id for _, fact in self.of(RunFinished)}, 90)
        return [fact for _, fact in self.of(RunFinished) if fact.run_id in wanted]

    async def deploy(self, document: dict[str, Any], change_id: str, **fields: Any) -> str:
        await self.send(proposal(document, change_id, **fields))
        return str((await self.one(PipelineDeployed, change_id=change_id)).digest)

    async def roll_back(self, **fields: Any) -> tuple[int, PipelineRolledBack]:
        await self.send(RollbackPipeline(rollback_id="r1", pipeline="triage", reason="bad", author="alice", **fields))
        await self.one(PipelineRolledBack, rollback_id="r1")
        return self.of(PipelineRolledBack)[0]


@pytest.fixture
async def seen(open_bus: OpenBus) -> AsyncIterator[Seen]:
    found = Seen(await open_bus("test"))
    async with found.bus.follow(RunStarted, RunFinished, PipelineDeployed, PipelineRolledBack) as stream:

        async def listen() -> None:
            async for fact, received in stream:
                found.facts.append((received.sequence, fact))

        task = asyncio.create_task(listen())
        yield found
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task


@pytest.fixture
async def fleet(nats_url: str, mongo_url: str, tmp_path: Path) -> AsyncIterator[list[Application]]:
    public = create_key_pair(tmp_path / "keys").public
    settings = SharedSettings(nats_url=nats_url, mongo_url=SecretStr(mongo_url), guardrail_public_key_file=public)
    apps = [
        create_executor(settings, ExecutorSettings(id=f"executor-{number}", concurrency=SLOTS, workspace_dir=tmp_path / "work"))
        for number in range(EXECUTORS)
    ]
    for app in apps:
        await app.start()
    yield apps
    for app in apps:
        await app.stop()


async def test_nothing_asked_for_after_a_rollback_starts_on_the_bad_revision_and_no_run_is_lost(
    start_guardrail: StartGuardrail, fleet: list[Application], seen: Seen
) -> None:
    await start_guardrail()
    good = await seen.deploy(saying("good"), "c1")
    nesting = {"name": "inner", "type": "pipeline", "pipeline": "triage", "inputs": {"text": "{{ text }}"}}
    await seen.deploy(pipeline(name="outer", steps=[nesting], outputs={"answer": "{{ steps.inner.result.answer }}"}), "c2")
    bad = await seen.deploy(saying("bad"), "c3")
    before = await seen.ask(RUNS)
    told, fact = await seen.roll_back()
    assert (fact.from_digest, fact.to_digest) == (bad, good)
    after = [*await seen.ask(RUNS), *await seen.ask(4, "outer")]
    ended = await seen.ends([*before, *after])
    assert {(run.status, run.error) for run in ended} == {("succeeded", "")}
    late = [run for sequence, run in seen.of(RunStarted, digest=bad) if sequence > told]
    assert len(late) <= EXECUTORS * SLOTS, "only what an executor had admitted already may still tell its start"
    assert not {run.run_id for _, run in seen.of(RunStarted, digest=bad)} & set(after)
    starts = [run.run_id for _, run in seen.of(RunStarted)]
    assert len(starts) == len(set(starts))
    refused = await seen.ends(await seen.ask(1, f"triage@{bad}"))
    assert [(run.status, run.error_code) for run in refused] == [("refused", "not_attested")]


async def test_former_revisions_can_always_be_run_unless_they_are_quarantined(
    start_guardrail: StartGuardrail, fleet: list[Application], seen: Seen
) -> None:
    await start_guardrail()
    digests = [await seen.deploy(saying(f"word {number}"), f"c{number}") for number in range(5)]
    run_ids = [(await seen.ask(1, f"triage@{digest}"))[0] for digest in digests]
    ended = {run.run_id: run for run in await seen.ends(run_ids)}
    assert [(ended[run_id].status, ended[run_id].digest) for run_id in run_ids] == [("succeeded", digest) for digest in digests]
