"""The guardrail as a service: real broker, real store, its own process's wiring; executors are scripted."""

from __future__ import annotations

import asyncio
import contextlib
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any, TypeVar

import pytest
from pydantic import SecretStr

from services.executor.app import create_app as create_executor
from services.executor.settings import ExecutorSettings
from services.guardrail.adapters.audit_log import MongoAuditLog
from services.guardrail.app import create_app
from services.guardrail.settings import GuardrailSettings
from shared.attestation import Verifier, create_key_pair
from shared.clock import SystemClock
from shared.errors import ConfigurationError, InvalidInputError, LimitReachedError, UnavailableError
from shared.events.changes import (
    ChangeApproved,
    ChangeQueued,
    ChangeVetoed,
    DecideReview,
    GateFinished,
    GetChange,
    GrantScope,
    ListReviews,
    ReviewRefused,
)
from shared.events.datasets import DatasetRegistered, GetDataset
from shared.events.deployments import GetPipeline, ListPipelines, PipelineDeployed, PipelineRolledBack, RollbackPipeline
from shared.events.message import Command, Fact
from shared.events.operations import CommandRefused
from shared.events.runs import ExecuteRun, RunFinished
from shared.events.values import Budget, GrantedScope
from shared.messaging.bus import Bus
from shared.service import Application
from shared.settings import SharedSettings
from shared.storage.mongo import connect
from tests.conftest import OpenBus
from tests.eventually import eventually
from tests.fakes.guardrail import answering, dataset, pipeline, proposal
from tests.fakes.guardrail_executor import BusExecutor
from tests.fakes.guardrail_ports import ScriptedFleet
from tests.fakes.people import own, signer, written_registry
from tests.messaging import consuming

pytestmark = pytest.mark.usefixtures("empty_streams")
PIPELINES = Path(__file__).parent.parent.parent / "pipelines"
RULES_OF_THUMB = ("{{ 'good' if text | length > 44 else 'bad' }}", "{{ 'good' if 'good' in text else 'bad' }}")
"""Pipelines without a model: one guesses by the length of the text, the other reads it."""
F = TypeVar("F", bound=Fact)
StartGuardrail = Callable[[], Awaitable[Application]]


class Facts:
    """Everything that the guardrail said since the test began."""

    def __init__(self) -> None:
        self.seen: list[Fact] = []

    def all(self, kind: type[F], **wanted: Any) -> list[F]:
        return [
            fact
            for fact in self.seen
            if isinstance(fact, kind) and all(getattr(fact, name) == value for name, value in wanted.items())
        ]

    async def one(self, kind: type[F], **wanted: Any) -> F:
        return (await eventually(lambda: self.all(kind, **wanted), 30))[0]


@pytest.fixture
async def bus(open_bus: OpenBus) -> Bus:
    return await open_bus("test")


@pytest.fixture
async def heard(bus: Bus) -> AsyncIterator[Facts]:
    facts = Facts()
    kinds = (ChangeApproved, ChangeQueued, ChangeVetoed, DatasetRegistered, GateFinished, PipelineDeployed, PipelineRolledBack)
    async with bus.follow(*kinds, ReviewRefused, CommandRefused, RunFinished) as stream:

        async def listen() -> None:
            async for fact, _ in stream:
                assert isinstance(fact, Fact)
                facts.seen.append(fact)

        task = asyncio.create_task(listen())
        yield facts
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task


@pytest.fixture
async def start_guardrail(nats_url: str, mongo_url: str, tmp_path: Path) -> AsyncIterator[StartGuardrail]:
    store = connect(SecretStr(mongo_url))
    for name in ("evoline_guardrail", "evoline_sealed"):
        await store.drop_database(name)
    store.close()
    keys = create_key_pair(tmp_path / "keys")
    settings = SharedSettings(
        nats_url=nats_url,
        mongo_url=SecretStr(mongo_url),
        pipelines_dir=PIPELINES,
        guardrail_public_key_file=keys.public,
        identities_file=written_registry(tmp_path / "keys"),
    )
    started: list[Application] = []

    async def start() -> Application:
        app = create_app(settings, GuardrailSettings(private_key_file=keys.private, gate_seconds=60, expiry_interval_seconds=0.2))
        await app.start()
        started.append(app)
        return app

    yield start
    for app in started:
        await app.stop()


@pytest.fixture
async def executor(open_bus: OpenBus, nats_url: str, tmp_path: Path) -> AsyncIterator[ScriptedFleet]:
    keys = create_key_pair(tmp_path / "keys")
    fleet = ScriptedFleet(Verifier.from_file(keys.public), SystemClock())
    async with consuming(await open_bus("executor"), nats_url, BusExecutor(fleet).register):
        yield fleet


@pytest.fixture
async def real_executor(nats_url: str, mongo_url: str, tmp_path: Path) -> AsyncIterator[Application]:
    public = create_key_pair(tmp_path / "keys").public
    settings = SharedSettings(nats_url=nats_url, mongo_url=SecretStr(mongo_url), guardrail_public_key_file=public)
    app = create_executor(settings, ExecutorSettings(workspace_dir=tmp_path / "workspaces"))
    await app.start()
    yield app
    await app.stop()


async def ran(bus: Bus, heard: Facts, reference: str) -> RunFinished:
    command = ExecuteRun(run_id=uuid.uuid4().hex, pipeline=reference, inputs={"text": "a message number 1 that is good"})
    await send(bus, command)
    return await heard.one(RunFinished, run_id=command.run_id)


async def send(bus: Bus, command: Command) -> None:
    """Signed by whom it says it is from, where that one has an identity."""
    await own(bus, command).publish(command, cause=uuid.uuid4().hex)


async def deployed(bus: Bus, name: str = "triage") -> dict[str, Any]:
    return await bus.ask(GetPipeline(pipeline=name))


async def test_the_shipped_pipelines_serve_after_the_start_and_a_restart_changes_nothing(
    start_guardrail: StartGuardrail, bus: Bus
) -> None:
    app = await start_guardrail()
    first = (await bus.ask(ListPipelines()))["pipelines"]
    assert len(first) == 9
    assert {row["generation"] for row in first} == {1}
    await app.stop()
    await start_guardrail()
    assert (await bus.ask(ListPipelines()))["pipelines"] == first


async def test_from_dataset_to_certified_promotion_and_back(
    start_guardrail: StartGuardrail, executor: ScriptedFleet, bus: Bus, heard: Facts, mongo_url: str
) -> None:
    await start_guardrail()
    executor.answer = answering({"Say": 0.6, "Name": 0.95})
    await send(bus, dataset())
    assert (await heard.one(DatasetRegistered)).sealed == 60
    await send(bus, proposal(pipeline(), "c1", dataset_id="tweets"))
    first = await heard.one(ChangeApproved, change_id="c1")
    await heard.one(PipelineDeployed, change_id="c1")
    better = proposal(
        pipeline("Name the sentiment of: {{ text }}"), "p1", kind="promotion", author="evolution", dataset_id="tweets"
    )
    await send(bus, better)
    gate = await heard.one(GateFinished, change_id="p1")
    assert gate.verdict == "certified" and gate.candidate.failures == 0
    promoted = await heard.one(PipelineDeployed, change_id="p1")
    assert (promoted.previous_digest, promoted.generation) == (first.digest, 2)
    await send(bus, RollbackPipeline(rollback_id="r1", pipeline="triage", reason="wrong answers", author="alice"))
    back = await heard.one(PipelineRolledBack)
    assert (back.to_digest, back.quarantined) == (first.digest, (promoted.digest,))
    assert (await deployed(bus))["stable"] == first.digest
    store = connect(SecretStr(mongo_url))
    log = MongoAuditLog(store.database("evoline_guardrail"))
    assert await log.check() == ()
    entries = await log.entries()
    store.close()
    assert [entry.action for entry in entries][-3:] == ["change.approved", "pipeline.deployed", "pipeline.rolled_back"]


async def test_real_executors_run_the_gate_and_refuse_what_was_rolled_back(
    start_guardrail: StartGuardrail, real_executor: Application, bus: Bus, heard: Facts
) -> None:
    await start_guardrail()
    await send(bus, dataset())
    await heard.one(DatasetRegistered)
    first, better = (
        pipeline(steps=[{"name": "classify", "type": "set_variable", "variable": "label", "value": value}])
        for value in RULES_OF_THUMB
    )
    await send(bus, proposal(first, "c1", dataset_id="tweets"))
    await heard.one(PipelineDeployed, change_id="c1")
    await send(bus, proposal(better, "p1", kind="promotion", author="evolution", dataset_id="tweets"))
    gate = await heard.one(GateFinished, change_id="p1")
    assert (gate.verdict, gate.candidate.mean, gate.incumbent.failures) == ("certified", 1.0, 0)
    promoted = await heard.one(PipelineDeployed, change_id="p1")
    assert (await ran(bus, heard, "triage")).status == "succeeded"
    await send(bus, RollbackPipeline(rollback_id="r1", pipeline="triage", reason="wrong answers", author="alice"))
    await heard.one(PipelineRolledBack)
    refused = await ran(bus, heard, f"triage@{promoted.digest}")
    assert (refused.status, refused.error_code) == ("refused", "not_attested")
    again = await ran(bus, heard, "triage")
    assert (again.status, again.digest) == ("succeeded", promoted.previous_digest)


async def test_a_document_with_keys_of_json_schema_survives_the_store(
    start_guardrail: StartGuardrail, bus: Bus, heard: Facts
) -> None:
    await start_guardrail()
    schema = {
        "type": "object",
        "$defs": {"a.b": {"type": "string"}},
        "properties": {"label": {"$ref": "#/$defs/a.b"}},
        "required": ["label"],
    }
    document = pipeline(steps=[{"name": "classify", "type": "claude_extract", "prompt": "Say: {{ text }}", "schema": schema}])
    await send(bus, proposal(document))
    approved = await heard.one(ChangeApproved, change_id="c1")
    answer = await deployed(bus)
    assert answer["document"] == approved.document
    assert answer["document"]["steps"][0]["schema"]["$defs"] == {"a.b": {"type": "string"}}


async def test_a_person_decides_what_waits(start_guardrail: StartGuardrail, bus: Bus, heard: Facts) -> None:
    await start_guardrail()
    await send(bus, proposal(pipeline()))
    await heard.one(PipelineDeployed, change_id="c1")
    await send(bus, proposal(pipeline(limits={"calls": 500}), "c2"))
    queued = await heard.one(ChangeQueued)
    (row,) = (await bus.ask(ListReviews()))["reviews"]
    assert row["digest"] == queued.digest
    await send(bus, DecideReview(change_id="c2", decision="approve", reviewer="generator", digest=queued.digest))
    refused = await heard.one(CommandRefused)
    assert refused.code == "not_authorized" and "no person" in refused.problems[0].reason
    await send(bus, DecideReview(change_id="c2", decision="approve", reviewer="alice", digest="0" * 64))
    assert "look at it again" in (await heard.one(ReviewRefused)).reason
    await send(bus, DecideReview(change_id="c2", decision="approve", reviewer="alice", digest=queued.digest))
    assert (await heard.one(ChangeApproved, change_id="c2")).approved_by == "review:alice"
    assert (await deployed(bus))["stable"] == queued.digest
    assert (await bus.ask(GetChange(change_id="c2")))["decisions"][0]["reviewer"] == "alice"


async def test_sealed_cases_cannot_be_asked_for_over_the_bus(start_guardrail: StartGuardrail, bus: Bus, heard: Facts) -> None:
    await start_guardrail()
    await send(bus, dataset())
    await heard.one(DatasetRegistered)
    answer = await bus.ask(GetDataset(dataset_id="tweets"))
    assert len(answer["cases"]) == 8
    with pytest.raises(InvalidInputError, match="shown to nobody"):
        await bus.ask(GetDataset(dataset_id="tweets", splits=("sealed",)))


async def test_fifty_scopes_at_once_on_two_guardrails_never_overshoot(start_guardrail: StartGuardrail, bus: Bus) -> None:
    await asyncio.gather(start_guardrail(), start_guardrail())
    wishes = [
        GrantScope(scope_id=f"s{n}", purpose="meta", holder="learner", domain="support", budget=Budget(cost_usd=10.0))
        for n in range(50)
    ]
    learner = bus.signed_by(signer("learner"))
    answers = await asyncio.gather(*(learner.ask(wish, timeout_seconds=30) for wish in wishes), return_exceptions=True)
    granted = [GrantedScope.model_validate(each) for each in answers if isinstance(each, dict)]
    refused = [each for each in answers if isinstance(each, LimitReachedError)]
    assert (len(granted), len(refused)) == (20, 30), [each for each in answers if not isinstance(each, dict)][:3]


async def test_without_a_guardrail_changes_wait_and_are_judged_when_it_is_back(
    start_guardrail: StartGuardrail, bus: Bus, heard: Facts
) -> None:
    app = await start_guardrail()
    await app.stop()
    for number in range(10):
        await send(bus, proposal(pipeline(name=f"triage_{number}"), f"c{number}"))
    with pytest.raises(UnavailableError):
        await bus.ask(ListPipelines(), timeout_seconds=1)
    assert heard.all(ChangeApproved, author="generator") == []
    await start_guardrail()
    await eventually(lambda: len(heard.all(ChangeApproved, author="generator")) == 10, 30)
    rows = (await bus.ask(ListPipelines()))["pipelines"]
    assert {f"triage_{number}" for number in range(10)} <= {row["name"] for row in rows}


async def test_two_guardrails_judging_rivals_for_one_name_leave_one_line_of_deployments(
    start_guardrail: StartGuardrail, bus: Bus, heard: Facts
) -> None:
    await asyncio.gather(start_guardrail(), start_guardrail())
    prompts = [f"{word} the sentiment of: {{{{ text }}}}" for word in ("Say", "Name", "Tell", "Give", "State", "Write")]
    await asyncio.gather(*(send(bus, proposal(pipeline(prompt), f"c{n}")) for n, prompt in enumerate(prompts)))
    ids = {f"c{n}" for n in range(len(prompts))}

    def all_decided() -> bool:
        approved, vetoed = heard.all(ChangeApproved), heard.all(ChangeVetoed)
        return ids <= {*(fact.change_id for fact in approved), *(fact.change_id for fact in vetoed)}

    await eventually(all_decided, 30)
    answer = await deployed(bus)
    generations = list(range(1, answer["generation"] + 1))
    # A verdict is told before what it did.
    await eventually(lambda: sorted(fact.generation for fact in heard.all(PipelineDeployed, pipeline="triage")) == generations)
    line = {fact.generation: fact for fact in heard.all(PipelineDeployed, pipeline="triage")}
    for generation in range(2, answer["generation"] + 1):
        assert line[generation].previous_digest == line[generation - 1].digest
    assert line[answer["generation"]].digest == answer["stable"]


async def test_a_proposal_in_the_name_of_the_system_is_dead_lettered(
    start_guardrail: StartGuardrail, bus: Bus, heard: Facts
) -> None:
    await start_guardrail()
    await send(bus, proposal(pipeline(), author="evoline"))
    refused = await heard.one(CommandRefused)
    assert refused.code == "invalid_input" and "system's own" in refused.problems[0].reason


async def test_a_guardrail_without_its_key_does_not_start(nats_url: str, mongo_url: str, tmp_path: Path) -> None:
    settings = SharedSettings(nats_url=nats_url, mongo_url=SecretStr(mongo_url), pipelines_dir=PIPELINES)
    app = create_app(settings, GuardrailSettings(private_key_file=tmp_path / "nowhere.key"))
    with pytest.raises(ConfigurationError, match=r"nowhere\.key"):
        await app.start()
