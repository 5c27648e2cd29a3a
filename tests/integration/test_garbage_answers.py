"""Somebody with the guardrail's credentials on the broker answers nonsense, and forgeries of what the guardrail would answer.

Nothing takes effect, whoever asked says why, approved revisions run on, and what waited is done once the guardrail answers."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import subprocess
import sys
import uuid
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest
from nats.aio.msg import Msg
from pydantic import SecretStr

from services.evolution.adapters.nats import BusCustodian as EvolutionCustodian
from services.evolution.app import create_app as create_evolution
from services.executor.app import create_app as create_executor
from services.executor.settings import ExecutorSettings
from services.generator.adapters.nats import BusCustodian as GeneratorCustodian
from services.generator.app import create_app as create_generator
from shared.attestation import Grants, public_pem
from shared.errors import UnavailableError
from shared.events import Query
from shared.events.changes import GetChange, GrantScope, ProposeChange
from shared.events.datasets import GetDataset
from shared.events.deployments import GetPipeline, ListPipelines
from shared.events.generation import GeneratePipeline, RequestRejected
from shared.events.improvement import EvolutionFinished, StartEvolution
from shared.events.quotas import EstimateCost
from shared.events.runs import ExecuteRun, RunFinished
from shared.events.values import Budget
from shared.messaging import codec
from shared.messaging.bus import Bus
from shared.messaging.consumer import Answer, Consumer
from shared.pipeline.loading import load_document
from shared.settings import SharedSettings
from shared.storage import MongoStore
from tests.eventually import eventually
from tests.fakes.executor import Notary
from tests.fakes.language_model import ScriptedModel
from tests.guarded_broker import GuardedBroker

ASKED: tuple[type[Query], ...] = (GetPipeline, GetDataset, EstimateCost, GrantScope, GetChange, ListPipelines)
SERVING = {"name": "serving", "domain": "support", "steps": [{"name": "a", "type": "set_variable", "variable": "n", "value": 42}]}
OTHER = {**SERVING, "steps": [{"name": "a", "type": "set_variable", "variable": "n", "value": 1}]}
WISH = GrantScope(scope_id="s1", purpose="evolution", holder="evolution", domain="support", budget=Budget(runs=10, calls=20))
NOTARY = Notary()
Made = Callable[[Msg], bytes]


def saying(data: Any) -> bytes:
    return json.dumps({"ok": True, "data": data}).encode()


def scope_of(message: Msg, notary: Notary, **changes: Any) -> bytes:
    wish = codec.decode(GrantScope, message.data)
    return saying(notary.granted(wish, **changes).model_dump(mode="json"))


NONSENSE: dict[str, Made] = {
    "nothing": lambda _: b"",
    "bytes": lambda _: b"\xff\x00\xfe",
    "another type": lambda _: b"[1, 2, 3]",
    "deep": lambda _: b"[" * 200_000,
    "huge": lambda _: saying({"filler": "x" * 900_000}),
    "numbers that are none": lambda _: b'{"ok": true, "data": {"total": {"runs": NaN}}}',
    "an empty answer": lambda _: saying({}),
    "an answer to another question": lambda _: saying({"reviews": [], "keys": {"a": "b"}}),
    "fields of other types": lambda _: saying(
        {"stable": 7, "document": "yes", "cases": {"a": 1}, "grader": 3, "domain": [], "total": {"runs": -1}, "gate": 3, "scope": 1}
    ),
    "an error that is none": lambda _: b'{"ok": false, "error": "no"}',
}
FORGED_SCOPES: dict[str, Made] = {
    "signed by another": lambda message: scope_of(message, Notary()),
    "for another scope": lambda message: scope_of(message, NOTARY, scope_id="s2"),
    "for another holder": lambda message: scope_of(message, NOTARY, holder="generator"),
    "larger": lambda message: scope_of(message, NOTARY, budget=Budget(runs=10_000, calls=20)),
    "over": lambda message: scope_of(message, NOTARY, minutes=-5),
}


class Impersonator:
    """Has the guardrail's credentials and, as nobody but the guardrail has, not its key."""

    def __init__(self, bus: Bus) -> None:
        self._bus = bus
        self.answer: Made = NONSENSE["nothing"]
        self.asked: list[str] = []

    async def start(self) -> None:
        for each in ASKED:
            await self._bus.client.subscribe(each.subject, queue="guardrail", cb=self._on_question)
        await self._bus.client.flush()

    async def _on_question(self, message: Msg) -> None:
        self.asked.append(message.subject)
        await self._bus.client.publish(message.reply, self.answer(message))


class Stage:
    def __init__(self, broker: GuardedBroker, mongo_url: str, folder: Path) -> None:
        self._broker = broker
        self._mongo_url = mongo_url
        self._folder = folder
        self.stack = contextlib.AsyncExitStack()
        (folder / "guardrail.pub").write_bytes(public_pem(NOTARY.key.public_key()))

    def settings(self, role: str) -> SharedSettings:
        more = {"mongo_url": SecretStr(self._mongo_url), "guardrail_public_key_file": self._folder / "guardrail.pub"}
        return self._broker.settings(role).model_copy(update={**more, "log_level": "error"})

    async def bus(self, role: str) -> Bus:
        bus = await Bus.connect(self.settings(role), service=role)
        self.stack.push_async_callback(bus.close)
        return bus

    async def run(self, app: Any) -> None:
        await app.start()
        self.stack.push_async_callback(app.stop)

    async def command(self, *arguments: str) -> tuple[int, str]:
        """Exit code and what was said, of `evoline ...` as the command line's user."""
        secrets = self._broker.settings("client")
        environment = {
            "EVOLINE_NATS_URL": secrets.nats_url,
            "EVOLINE_NATS_USER": "client",
            "EVOLINE_NATS_SEED_FILE": str(secrets.nats_seed_file),
            "EVOLINE_HOME": str(self._folder / "home"),
        }
        line = [sys.executable, "-m", "evoline.cli", *arguments]
        done = await asyncio.to_thread(
            subprocess.run, line, env=os.environ | environment, capture_output=True, text=True, check=False
        )
        return done.returncode, done.stdout + done.stderr


@pytest.fixture
async def stage(broker: GuardedBroker, mongo_url: str, store: MongoStore, tmp_path: Path) -> AsyncIterator[Stage]:
    for name in ("evoline_generator", "evoline_evolution"):
        await store.drop_database(name)
    on = Stage(broker, mongo_url, tmp_path)
    admin = await on.bus("admin")
    for stream in ("CMD", "EVT", "FACTS", "DLQ"):
        await admin.jetstream.purge_stream(stream)
    yield on
    await on.stack.aclose()


@pytest.fixture
async def impersonator(stage: Stage) -> Impersonator:
    made = Impersonator(await stage.bus("guardrail"))
    await made.start()
    return made


async def test_whoever_asks_makes_an_error_of_every_answer_that_is_not_the_guardrails(
    stage: Stage, impersonator: Impersonator
) -> None:
    evolution, generator = await stage.bus("evolution"), await stage.bus("generator")
    grants = Grants(lambda: NOTARY.verifier, evolution.parts.clock)
    searching, generating = EvolutionCustodian(evolution, grants), GeneratorCustodian(generator, grants)
    wish = WISH.model_copy(update={"holder": "generator", "purpose": "generation"})
    questions: dict[str, Callable[[], Any]] = {
        "pipeline": lambda: searching.stable("serving"),
        "data set": lambda: searching.dataset("d"),
        "estimate": lambda: searching.estimate("serving", 5),
        "scope": lambda: searching.grant_scope(WISH),
        "data set, generator": lambda: generating.dataset("d"),
        "scope, generator": lambda: generating.grant_scope(wish),
    }
    for kind, impersonator.answer in NONSENSE.items():
        for name, question in questions.items():
            with pytest.raises(UnavailableError, match=r"answer to api\.guardrail\.\w+ is not one that can be used"):
                await question()
                pytest.fail(f"{name} took {kind} for an answer")
    for kind, impersonator.answer in FORGED_SCOPES.items():
        with pytest.raises(UnavailableError, match=r"another wish|did not sign"):
            await searching.grant_scope(WISH)
            pytest.fail(f"a scope that is {kind} was taken")
    impersonator.answer = lambda message: scope_of(message, NOTARY)
    assert (await searching.grant_scope(WISH)).scope.budget == WISH.budget

    digest = load_document(SERVING).digest
    impersonator.answer = lambda _: saying({"stable": digest, "document": OTHER})
    with pytest.raises(UnavailableError, match="shows the document of"):
        await searching.stable("serving")
    impersonator.answer = lambda _: saying({"stable": digest, "document": SERVING})
    assert (await searching.stable("serving")).digest == digest


async def test_searches_wait_approved_revisions_run_on_and_all_goes_on_when_the_guardrail_answers(
    stage: Stage, impersonator: Impersonator, store: MongoStore, tmp_path: Path
) -> None:
    await NOTARY.deploy(store.database("evoline_guardrail"), SERVING)
    model = ScriptedModel()
    own = ExecutorSettings(workspace_dir=tmp_path / "work")
    await stage.run(create_executor(stage.settings("executor"), own, models={"claude": model, "gemini": model}))
    await stage.run(create_evolution(stage.settings("evolution")))
    await stage.run(create_generator(stage.settings("generator")))
    client = await stage.bus("client")
    evolution = StartEvolution(evolution_id=uuid.uuid4().hex, pipeline="serving", dataset_id="d1", evaluations=60)
    request = GeneratePipeline(
        request_id=uuid.uuid4().hex, requirements="Say yes.", domain="support", dataset_id="d1", author="ann"
    )
    facts = (EvolutionFinished, RequestRejected, RunFinished)
    async with client.follow(*facts) as stream:
        for order in (evolution, request):
            await client.publish(order, cause=uuid.uuid4().hex)
        for kind, impersonator.answer in NONSENSE.items():
            impersonator.asked.clear()
            run = ExecuteRun(run_id=uuid.uuid4().hex, pipeline="serving")
            await client.publish(run, cause=run.run_id)
            ended, _ = await anext(stream)
            assert isinstance(ended, RunFinished), f"{kind} made {ended}"
            assert (ended.run_id, ended.status, ended.outputs) == (run.run_id, "succeeded", 42)
        await eventually(lambda: {GetPipeline.subject, GetDataset.subject} <= set(impersonator.asked), 20)
        proposed = await (await stage.bus("admin")).jetstream.stream_info("CMD", subjects_filter=ProposeChange.subject)
        assert not (proposed.state.subjects or {})

        impersonator.answer = _honest_no
        ends = [(await anext(stream))[0] for _ in range(2)]
    assert {type(each) for each in ends} == {EvolutionFinished, RequestRejected}
    assert all("no data set d1" in str(getattr(each, "problems", ())) for each in ends)


def _honest_no(message: Msg) -> bytes:
    """As the guardrail answers where there is no such data set."""
    if message.subject == GetPipeline.subject:
        return saying({"stable": load_document(SERVING).digest, "document": SERVING})
    return json.dumps({"ok": False, "error": {"code": "not_found", "message": "no data set d1", "problems": []}}).encode()


@pytest.mark.parametrize("kind", ["bytes", "an empty answer"])
async def test_the_command_line_says_what_is_wrong_with_an_answer(stage: Stage, impersonator: Impersonator, kind: str) -> None:
    impersonator.answer = NONSENSE[kind]
    code, said = await stage.command("pipelines")
    assert (code, "is not one that can be used" in said) == (3, True), said


async def test_a_stranger_with_another_services_credentials_is_not_asked_at_all(stage: Stage) -> None:
    """The broker lets only the guardrail's user answer for it."""
    bus = await stage.bus("learner")

    async def answer(_: GetPipeline) -> Answer:
        return {}

    consumer = Consumer(Bus(bus.client, service="guardrail"), stage.settings("learner"))
    consumer.answers(GetPipeline, answer)
    with pytest.raises(Exception, match="may not"):
        await consumer.start()
    await consumer.stop(0.1)
