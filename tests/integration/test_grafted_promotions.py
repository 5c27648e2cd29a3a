"""From a revision of one pipeline a template, from that another one's promotion: taken back together, on real servers and services.

Executors are scripted: they are right on as many cases as the prompt is worth."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any, TypeVar

import pytest
from pydantic import SecretStr

from services.evolution.adapters.templates import MongoTemplates
from services.evolution.app import create_app as create_evolution
from services.evolution.settings import EvolutionSettings
from services.guardrail.app import create_app as create_guardrail
from services.guardrail.settings import GuardrailSettings
from services.learner.app import create_app as create_learner
from shared.attestation import Verifier
from shared.clock import SystemClock
from shared.events.changes import ChangeApproved
from shared.events.datasets import DatasetRegistered
from shared.events.deployments import GetPipeline, PipelineRolledBack, RollbackPipeline
from shared.events.improvement import EvolutionFinished, LearnFromRuns, PipelineScored, StartEvolution, TemplateLearned
from shared.events.message import Command, Fact
from shared.events.values import Case, Score
from shared.messaging.bus import Bus
from shared.pipeline.loading import load_document
from shared.storage.mongo import connect
from tests.conftest import OpenBus
from tests.eventually import eventually
from tests.fakes.guardrail import dataset, proposal
from tests.fakes.guardrail_executor import BusExecutor
from tests.fakes.guardrail_ports import ScriptedFleet
from tests.fakes.learned_templates import MARK
from tests.fakes.people import own, services_with_keys
from tests.messaging import consuming

pytestmark = [pytest.mark.usefixtures("empty_streams"), pytest.mark.timeout(300)]
ROOT = Path(__file__).parents[2]
SEED = 2
"""A number with which so few evaluations come to try the template."""
F = TypeVar("F", bound=Fact)


def classifier(name: str, instruction: str, labels: tuple[str, str], item: str, mark: str = "") -> dict[str, Any]:
    lines = (instruction, *((mark,) if mark else ()), f"Answer with exactly one of: {', '.join(labels)}.")
    properties = {"label": {"enum": list(labels)}}
    schema = {"type": "object", "properties": properties, "required": ["label"], "additionalProperties": False}
    prompt = "\n".join(lines) + f"\n\n{{{{ {item} }}}}\n"
    step = {"name": "classify", "type": "claude", "prompt": prompt, "schema": schema, "max_tokens": 24}
    limits = {"seconds": 30, "steps": 2, "calls": 2, "tokens": 4000}
    outputs = {"answer": "{{ steps.classify.result.label }}"}
    return {"name": name, "domain": "support", "inputs": {item: "string"}, "limits": limits, "steps": [step], "outputs": outputs}


TRIAGE = classifier("triage", "Decide how the writer feels.", ("bad", "good"), "text")
MAILS = classifier("mails", "Decide whether somebody has to hurry.", ("urgent", "other"), "mail")
BETTER_MAILS = classifier("mails", "Decide whether somebody has to hurry.", ("urgent", "other"), "mail", MARK)


def labelled() -> tuple[Case, ...]:
    splits = [("train", 12), ("dev", 40), ("sealed", 60)]
    rows = [(split, number, ("good", "bad")[number % 2]) for split, many in splits for number in range(many)]
    texts = {(split, number): f"{split} message number {number} about {label} things" for split, number, label in rows}
    return tuple(
        Case.model_validate({"id": f"{split}-{number}", "input": {"text": texts[split, number]}, "expected": label, "split": split})
        for split, number, label in rows
    )


def answer(document: Mapping[str, Any], inputs: Mapping[str, Any]) -> dict[str, str]:
    words = str(inputs["text"]).split()
    truth, share = words[-2], 0.95 if MARK in str(document["steps"]) else 0.5
    is_right = int(words[3]) * 7 % 20 / 20 < share
    return {"answer": truth if is_right else {"good": "bad", "bad": "good"}[truth]}


@pytest.fixture
async def bus(nats_url: str, mongo_url: str, tmp_path: Path, open_bus: OpenBus) -> AsyncIterator[Bus]:
    """Beside guardrail, evolution and learner, as their processes wire them."""
    store = connect(SecretStr(mongo_url))
    for name in ("guardrail", "sealed", "evolution", "learner"):
        await store.drop_database(f"evoline_{name}")
    store.close()
    keys, settings = services_with_keys(tmp_path / "keys", nats_url=nats_url, mongo_url=SecretStr(mongo_url), log_level="error")

    apps = [
        create_guardrail(settings("guardrail"), GuardrailSettings(private_key_file=keys.private)),
        create_evolution(settings("evolution"), EvolutionSettings(rewrites=0)),
        create_learner(settings("learner")),
    ]
    fleet = ScriptedFleet(Verifier.from_file(keys.public), SystemClock())
    fleet.answer = answer
    async with AsyncExitStack() as stack:
        await stack.enter_async_context(consuming(await open_bus("executor"), nats_url, BusExecutor(fleet).register))
        for app in apps:
            await app.start()
            stack.push_async_callback(app.stop)
        yield await open_bus("test")


async def said(bus: Bus, kind: type[F], message: Command | PipelineScored, **wanted: Any) -> F:
    """What was answered to a message."""
    async with bus.follow(kind) as facts:
        await own(bus, message).publish(message, cause=uuid.uuid4().hex)
        async with asyncio.timeout(120):
            async for fact, _ in facts:
                if isinstance(fact, kind) and all(getattr(fact, name) == value for name, value in wanted.items()):
                    return fact
    raise AssertionError("answered or timed out")


async def learned_from(bus: Bus, document: dict[str, Any], mongo_url: str) -> TemplateLearned:
    """The learner's template of a revision, once evolution knows it, too."""
    (step,) = document["steps"]
    instruction, _, answers, *_ = step["prompt"].split("\n")
    labels = step["schema"]["properties"]["label"]["enum"]
    blanks = {"instruction": instruction, "labels": labels, "labels_text": ", ".join(labels), "item": "{{ mail }}"}
    assert blanks["labels_text"] in answers
    scored = PipelineScored(
        pipeline="mails",
        digest=load_document(document).digest,
        domain="support",
        purpose="trial",
        score=Score(mean=0.95, low=0.85, high=0.99, cases=40, grader_hash="h"),
        document=document,
        parameters=blanks,
    )
    await bus.publish(scored, cause="scored")
    store = connect(SecretStr(mongo_url))
    try:
        revisions = store.database("evoline_learner").collection("revisions")
        await eventually(lambda: revisions.count({}), 20)
        told = await said(bus, TemplateLearned, LearnFromRuns(learning_id="l1", domain="support"))
        templates = MongoTemplates(store.database("evoline_evolution"))
        await eventually(lambda: templates.of_domain("support"), 20)
    finally:
        store.close()
    return told


async def test_a_promotion_goes_out_of_use_with_the_template_that_it_took_steps_from(bus: Bus, mongo_url: str) -> None:
    await said(bus, DatasetRegistered, dataset(labelled(), "moods"))
    for change_id, document in (("c1", TRIAGE), ("c2", MAILS), ("c3", BETTER_MAILS)):
        await said(bus, ChangeApproved, proposal(document, change_id), change_id=change_id)
    source, seed = load_document(BETTER_MAILS).digest, load_document(TRIAGE).digest
    template = await learned_from(bus, BETTER_MAILS, mongo_url)
    assert MARK in str(template.document) and "hurry" not in str(template.document)

    order = StartEvolution(
        evolution_id="e1", pipeline="triage", dataset_id="moods", evaluations=500, strategy="climb", seed=SEED, author="alice"
    )
    ended = await said(bus, EvolutionFinished, order, evolution_id="e1")
    assert (ended.verdict, ended.deployed, ended.seed_digest) == ("certified", True, seed), ended
    serving = await bus.ask(GetPipeline(pipeline="triage"))
    row = next(each for each in serving["revisions"] if each["digest"] == serving["stable"] == ended.best_digest)
    assert (row["parent_digest"], row["origins"], row["quarantine"]) == (seed, [template.digest], None)
    assert MARK in str(serving["document"]["steps"])

    wish = RollbackPipeline(rollback_id="r1", pipeline="mails", reason="it shows what it must not", author="alice")
    back = await said(bus, PipelineRolledBack, wish)
    assert set(back.quarantined) == {source, template.digest, ended.best_digest}
    after = await bus.ask(GetPipeline(pipeline="triage"))
    out = {each["digest"]: each["quarantine"]["cause"] for each in after["revisions"] if each["quarantine"]}
    assert out == {ended.best_digest: "r1"}
    wish = RollbackPipeline(rollback_id="r2", pipeline="triage", reason="it is out of use", author="alice")
    assert (await said(bus, PipelineRolledBack, wish, rollback_id="r2")).to_digest == seed
