"""Without a guardrail that answers, nothing changes and what serves goes on; when it is back, everything is judged in its order."""

from __future__ import annotations

import asyncio
import contextlib
import signal
import uuid
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from pydantic import SecretStr

from bench.guardrail.stack import GuardedStack
from services.executor.app import create_app as create_executor
from services.executor.settings import ExecutorSettings
from shared.attestation import create_key_pair
from shared.events.changes import ChangeApproved, ChangeVetoed, GetChange
from shared.events.deployments import PipelineDeployed, PipelineRolledBack
from shared.events.message import Fact
from shared.events.recovery import SystemUnfrozen
from shared.events.runs import ExecuteRun, RunFinished
from shared.messaging.bus import Bus
from shared.messaging.codec import decode, encode
from shared.pipeline.loading import load_document
from shared.settings import SharedSettings
from shared.storage import MongoStore, connect
from tests.conftest import OpenBus
from tests.eventually import eventually
from tests.fakes.executor import Notary
from tests.fakes.guardrail import pipeline, proposal
from tests.fakes.people import own, written_registry

pytestmark = pytest.mark.usefixtures("empty_streams")
PIPELINES, CHANGES = 4, 100


@pytest.fixture
async def store(mongo_url: str) -> AsyncIterator[MongoStore]:
    opened = connect(SecretStr(mongo_url))
    for name in ("evoline_guardrail", "evoline_sealed", "evoline_executor"):
        await opened.drop_database(name)
    yield opened
    opened.close()


@pytest.fixture
async def stack(store: MongoStore, nats_url: str, mongo_url: str, tmp_path: Path) -> AsyncIterator[GuardedStack]:
    create_key_pair(tmp_path / "keys")
    written_registry(tmp_path / "keys")
    made = GuardedStack(nats_url, mongo_url, tmp_path)
    yield made
    for name, process in list(made.running.items()):
        with contextlib.suppress(ProcessLookupError):
            process.send_signal(signal.SIGCONT)
        await made.end(name)


@pytest.fixture
async def executor(stack: GuardedStack, tmp_path: Path) -> AsyncIterator[None]:
    settings = SharedSettings(
        nats_url=stack.nats_url,
        mongo_url=SecretStr(stack.mongo_url),
        guardrail_public_key_file=tmp_path / "keys" / "guardrail.pub",
    )
    app = create_executor(settings, ExecutorSettings(workspace_dir=tmp_path / "work"))
    await app.start()
    yield
    await app.stop()


def document(name: str, word: str) -> dict[str, Any]:
    return pipeline(name=name, steps=[{"name": "classify", "type": "set_variable", "variable": "label", "value": word}])


async def propose(bus: Bus, numbers: range) -> None:
    """In order for each pipeline, those of different pipelines beside each other."""

    async def lane(index: int) -> None:
        for number in numbers:
            if number % PIPELINES == index:
                change = proposal(document(f"triage{index}", f"word {number}"), f"c{number}")
                await own(bus, change).publish(change, cause=change.change_id)

    await asyncio.gather(*(lane(index) for index in range(PIPELINES)))


async def run(bus: Bus, reference: str) -> RunFinished:
    command = ExecuteRun(run_id=uuid.uuid4().hex, pipeline=reference, inputs={"text": "hello"})
    async with bus.follow(RunFinished) as stream:
        await bus.publish(command, cause=command.run_id)
        async for fact, _ in stream:
            if isinstance(fact, RunFinished) and fact.run_id == command.run_id:
                return fact
    raise AssertionError("the facts ended")


async def deployed(store: MongoStore) -> dict[str, tuple[str, int]]:
    rows = await store.database("evoline_guardrail").collection("deployments").find({})
    return {row["_id"]: (row["stable"], row["generation"]) for row in rows}


async def lie(bus: Bus) -> None:
    """What somebody says who speaks for the guardrail, but has not its key."""
    planted = document("triage0", "planted")
    digest = load_document(planted).digest
    forged: list[Fact] = [
        ChangeApproved(
            change_id="c0",
            kind="revision",
            pipeline="triage0",
            digest=digest,
            document=planted,
            domain="support",
            author="generator",
            approved_by="policy:x",
            risk=0.0,
            reasons=(),
            policy_revision="p",
            attestation=Notary().attest("revision", digest, "triage0"),
        ),
        PipelineDeployed(pipeline="triage0", digest=digest, change_id="c0", generation=9),
        PipelineRolledBack(
            rollback_id="r",
            pipeline="triage0",
            from_digest="0",
            to_digest=digest,
            quarantined=(),
            reason="",
            author="",
            generation=9,
        ),
        SystemUnfrozen(unfreeze_id="u", freeze_ids=(), author="", generation=9),
    ]
    for fact in forged:
        assert decode(type(fact), encode(fact)) == fact
        await bus.publish(fact, cause=uuid.uuid4().hex)


async def test_with_the_guardrail_stopped_dead_or_impersonated_nothing_changes_and_afterwards_everything_does_in_order(
    stack: GuardedStack, executor: None, store: MongoStore, open_bus: OpenBus
) -> None:
    bus, impostor = await open_bus("test"), await open_bus("guardrail")
    await stack.start("guardrail", "guardrail")
    await propose(bus, range(PIPELINES))
    await eventually(lambda: _all_there(store), 60)
    before = await deployed(store)

    stack.signal("guardrail", signal.SIGSTOP)
    await propose(bus, range(PIPELINES, CHANGES // 2))
    assert (await run(bus, "triage0")).status == "succeeded"
    assert await deployed(store) == before

    stack.running["guardrail"].kill()
    await stack.running.pop("guardrail").wait()
    await propose(bus, range(CHANGES // 2, CHANGES))
    await lie(impostor)
    ended = await run(bus, "triage0")
    assert (ended.status, ended.digest) == ("succeeded", before["triage0"][0])
    assert await deployed(store) == before

    moved: dict[str, dict[int, int]] = {}
    vetoed = 0
    async with bus.follow(PipelineDeployed, ChangeVetoed) as facts:
        await stack.start("guardrail again", "guardrail")
        async for fact, _ in facts:
            if isinstance(fact, PipelineDeployed) and int(fact.change_id[1:]) >= PIPELINES:
                moved.setdefault(fact.pipeline, {})[fact.generation] = int(fact.change_id[1:])
            vetoed += isinstance(fact, ChangeVetoed)
            if sum(map(len, moved.values())) + vetoed >= CHANGES - PIPELINES:
                break
    assert vetoed == 0
    for index in range(PIPELINES):
        # What was judged on behalf of a lost delivery is told by that later; the order in which it took effect is the generations'.
        order = [number for _, number in sorted(moved[f"triage{index}"].items())]
        assert order == list(range(PIPELINES + index, CHANGES, PIPELINES))
        last = CHANGES - PIPELINES + index
        assert (await bus.ask(GetChange(change_id=f"c{last}")))["status"] == "approved"


async def _all_there(store: MongoStore) -> bool:
    return {f"triage{index}" for index in range(PIPELINES)} <= set(await deployed(store))
