"""The nine printed documents, verbatim, on real servers and services: approved by people, run with inputs from the stores.

Models are the two providers' own SDKs against the stand-in."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import pytest
from pydantic import SecretStr

from evoline.client.api import Client, new_id
from evoline.client.inputs import inputs_from_stores
from services.analytics.app import create_app as create_analytics
from services.executor.app import create_app as create_executor
from services.executor.settings import ExecutorSettings
from services.generator.app import create_app as create_generator
from services.guardrail.app import create_app as create_guardrail
from services.guardrail.settings import GuardrailSettings
from services.learner.app import create_app as create_learner
from shared.events import Fact
from shared.events.changes import ChangeApproved, ChangeQueued, ChangeVetoed, ProposeChange
from shared.events.generation import GeneratePipeline
from shared.events.improvement import GetReport
from shared.events.oversight import ReviewRecorded
from shared.events.runs import GetRun, RunFinished
from shared.pipeline.document import Document
from shared.pipeline.loading import load_document
from shared.pipeline.step import StepResult
from shared.storage.mongo import connect
from tests.conftest import OpenBus
from tests.eventually import eventually
from tests.fakes.author import Author
from tests.fakes.guardrail import cases, dataset
from tests.fakes.people import services_with_keys, signer
from tests.fakes.provider_standin import ProviderStandin, provider_standin
from tests.specification import printed, printed_documents

__all__ = ["provider_standin"]
pytestmark = [pytest.mark.usefixtures("empty_streams"), pytest.mark.timeout(240)]
ROOT = Path(__file__).parents[2]
Reviewers = Sequence[Client]
COUNTING = {
    "name": "length_of_ticket",
    "domain": "support",
    "inputs": {"text": "string"},
    "steps": [{"name": "count", "type": "set_variable", "variable": "length", "value": "{{ text | length }}"}],
    "outputs": {"answer": "{{ vars.length }}"},
}


@pytest.fixture
async def services(
    nats_url: str, mongo_url: str, tmp_path: Path, provider_standin: ProviderStandin, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[None]:
    """Guardrail, two executors, generator, analytics and learner, as their processes wire them."""
    for name in ("ANTHROPIC_API_KEY", "GEMINI_API_KEY"):
        monkeypatch.delenv(name, raising=False)
    for name in ("EVOLINE_CLAUDE_BASE_URL", "EVOLINE_GEMINI_BASE_URL"):
        monkeypatch.setenv(name, provider_standin.url)
    provider_standin.answer = Author(provider_standin)
    await _emptied(mongo_url)
    keys, settings = services_with_keys(tmp_path / "keys", nats_url=nats_url, mongo_url=SecretStr(mongo_url))

    apps = [
        create_guardrail(settings("guardrail"), GuardrailSettings(private_key_file=keys.private)),
        *(
            create_executor(settings("executor"), ExecutorSettings(id=f"executor-{n}", workspace_dir=tmp_path / f"work-{n}"))
            for n in (1, 2)
        ),
        create_generator(settings("generator")),
        create_analytics(settings("analytics")),
        create_learner(settings("learner")),
    ]
    async with AsyncExitStack() as stack:
        for app in apps:
            await app.start()
            stack.push_async_callback(app.stop)
        yield


async def _emptied(mongo_url: str) -> None:
    store = connect(SecretStr(mongo_url))
    for name in ("guardrail", "sealed", "executor", "generator", "analytics", "learner"):
        await store.drop_database(f"evoline_{name}")
    store.close()


async def approved(author: Client, reviewers: Reviewers, document: Document, *, deploy: bool = False) -> str:
    """The digest of a document that people approve where policy asks for them."""
    change = new_id("change")
    fields = {"kind": "revision", "pipeline": document.name, "domain": document.domain, "author": author.author, "deploy": deploy}
    proposal = ProposeChange.model_validate({"change_id": change, "document": document.canonical(), **fields})
    # The verdict counts once it is told: it is in the audit log then, which a review looks into.
    async with author.bus.follow(ChangeQueued, ChangeApproved, ChangeVetoed) as facts:
        await author.bus.publish(proposal, cause=change)
        verdict = await anext(fact async for fact, _ in facts if getattr(fact, "change_id", "") == change)
    said: Fact = verdict
    for reviewer in reviewers:
        if isinstance(said, ChangeQueued | ReviewRecorded):
            said = await reviewer.review(change, "approve", comment=f"{document.name} as the specification prints it.")
    assert isinstance(said, ChangeApproved), said
    return said.digest


async def seeded(author: Client, reviewers: Reviewers) -> None:
    """What a system that has worked a little holds: a data set, a finished request, runs of a deployed pipeline."""
    await author.register_dataset(dataset(cases(12), "tickets"))
    request = {"request_id": "r1", "requirements": "Say whether it is good or bad.", "domain": "support", "dataset_id": "tickets"}
    bounds = {"max_calls": 0, "generation_calls": 20, "generation_seconds": 60}
    await author.generate(GeneratePipeline.model_validate({**request, "constraints": bounds}))
    await approved(author, reviewers, load_document(COUNTING), deploy=True)
    for number in range(4):
        await author.run("length_of_ticket", {"text": "x" * number})

    async def counted() -> bool:
        rows = (await author.ask(GetReport(pipeline="length_of_ticket")))["pipelines"]
        return bool(rows) and rows[0]["runs"] == 4

    await eventually(counted, 30)


async def test_the_nine_printed_documents_run_to_their_end_with_inputs_from_the_stores(services: None, open_bus: OpenBus) -> None:
    bus = await open_bus("test")
    author, *reviewers = (Client(bus.signed_by(signer(name)), author=name) for name in ("alice", "bob", "carol"))
    await seeded(author, reviewers)
    ends: dict[str, RunFinished] = {}
    given: dict[str, dict[str, Any]] = {}
    for stem in printed_documents():
        document = printed(stem)
        reference = f"{document.name}@{await approved(author, reviewers, document)}"
        given[stem] = await inputs_from_stores(author, reference, {})
        ends[stem] = await author.run(reference, given[stem], timeout_seconds=60)
        await _every_step_was_executed(author, document, ends[stem])
    assert {stem: (end.status, end.error) for stem, end in ends.items()} == dict.fromkeys(printed_documents(), ("succeeded", ""))
    _inputs_tell_what_the_stores_hold(given)
    _the_experiment_ran_on_the_fleet(ends["ab_testing_framework"])


async def _every_step_was_executed(client: Client, document: Document, end: RunFinished) -> None:
    """Each in the order of the document, with a whole envelope of its own."""
    assert [step.name for step in end.steps] == [step.name for step in document.steps], end.error
    assert all(step.provider and step.model for step in end.steps if step.type.startswith(("claude", "gemini")))
    record = await client.ask(GetRun(run_id=end.run_id))
    for step in record["steps"]:
        envelope = StepResult.model_validate({name: step[name] for name in StepResult.model_fields if name in step})
        assert (envelope.status, envelope.error, envelope.value not in (None, "")) == ("ok", "", True), step


def _inputs_tell_what_the_stores_hold(given: dict[str, dict[str, Any]]) -> None:
    inputs = {name: value for each in given.values() for name, value in each.items()}
    assert inputs["requirements"] == "Say whether it is good or bad."
    assert (inputs["constraints"]["max_calls"], inputs["target_domain"]) == (0, "support")
    assert [row["name"] for row in inputs["successful_pipelines"]][:1] == ["length_of_ticket"]
    assert {row["pipeline"] for row in inputs["metrics"]["pipelines"]} >= {"length_of_ticket"}
    assert len(inputs["test_dataset"]["cases"]) == 4
    assert {row["strategy"] for row in inputs["learning_strategies"]} >= {"template", "pattern_mining"}
    assert inputs["trend_analysis"]["pipelines"][0]["newer"]["runs"] == 2
    assert all("as the specification prints it" in row["text"] for row in inputs["user_feedback"])


def _the_experiment_ran_on_the_fleet(end: RunFinished) -> None:
    """The model's variants ran as trials under the guardrail's scope; deploying one is the guardrail's to decide."""
    assert set(end.outputs) >= {"change_id", "decision"}
    assert end.outputs["decision"] == "vetoed"
    assert end.usage.calls == 3 + 3 * 4 + 1
