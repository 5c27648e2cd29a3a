from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

from services.generator.adapters.library import FileAndStoreLibrary, seed_templates
from services.generator.adapters.mongo import MongoLearnedTemplates, MongoRequestStore
from services.generator.domain.templates import Template
from services.generator.use_cases import Generator, forget_templates, generate_pipeline, learn_template, record_verdict
from shared.clock import SystemClock
from shared.errors import OutOfScopeError
from shared.events.changes import ChangeQueued, ChangeVetoed, GrantScope, ProposeChange
from shared.events.generation import GeneratePipeline, RequestFinished, RequestProgressed, RequestRejected
from shared.events.improvement import PipelineScored, TemplateLearned
from shared.events.message import Message
from shared.events.runs import ExecuteRun, RunFinished
from shared.events.values import Attestation, Case, GraderSpec, GrantedScope, TrialScope, Usage
from shared.pipeline.loading import load_document
from shared.pipeline.steps import type_names
from tests.fakes.storage import InMemoryDatabase
from tests.unit.generator.test_understanding_requests import cases, request

LIBRARY = Path(__file__).parents[3] / "pipelines" / "library"


class ScriptedRuns:
    """Executors whose answers are a function of (document, inputs); counts what it was asked to run."""

    def __init__(self, answer: Callable[[ExecuteRun], RunFinished | None]) -> None:
        self._answer = answer
        self.commands: list[ExecuteRun] = []

    async def run_all(self, commands: Sequence[ExecuteRun], **_: Any) -> dict[str, RunFinished]:
        self.commands += commands
        return {finished.run_id: finished for command in commands if (finished := self._answer(command))}


class ScriptedCustodian:
    def __init__(self, refuse: str = "", dataset: Sequence[Case] = ()) -> None:
        self._refuse = refuse
        self._dataset = dataset

    async def grant_scope(self, query: GrantScope) -> GrantedScope:
        if self._refuse:
            raise OutOfScopeError(self._refuse)
        scope = TrialScope(
            scope_id=query.scope_id,
            purpose=query.purpose,
            holder=query.holder,
            domain=query.domain,
            step_types=type_names(),
            providers=("claude", "gemini"),
            functions=("nearest_examples", "vote"),
            budget=query.budget,
            expires_at="2099-01-01T00:00:00+00:00",
        )
        stamp = "2026-01-01T00:00:00+00:00"
        attestation = Attestation(
            kind="scope",
            digest="0" * 64,
            scope=query.purpose,
            domain=query.domain,
            policy_revision="1",
            issued_at=stamp,
            expires_at=stamp,
            key_id="k",
        )
        return GrantedScope(scope=scope, attestation=attestation)

    async def dataset(self, dataset_id: str) -> tuple[Sequence[Case], GraderSpec, str]:
        return self._dataset, GraderSpec(kind="label"), "reviews"


class Announcements:
    def __init__(self) -> None:
        self.messages: list[Message] = []

    async def announce(self, message: Message, *, cause: str, effect: str) -> None:
        self.messages.append(message)


class NoHistory:
    async def summary(self, domain: str) -> dict[str, Any]:
        return {}


def finished(command: ExecuteRun, outputs: Any, status: str = "succeeded") -> RunFinished:
    return RunFinished.model_validate(
        {
            "run_id": command.run_id,
            "pipeline": "p",
            "digest": "d" * 64,
            "domain": "reviews",
            "purpose": command.purpose,
            "status": status,
            "outputs": outputs,
            "usage": Usage(calls=1, input_tokens=20, output_tokens=3),
        }
    )


def examples_answer_right(command: ExecuteRun) -> RunFinished | None:
    """The template that shows examples is always right, the others always say good; synthesis never ends."""
    if command.purpose == "meta":
        return None
    number = int(command.inputs["text"].split()[-1])
    right = "good" if number % 2 == 0 else "bad"
    shows = "Examples:" in str((command.document or {})["steps"])
    return finished(command, {"answer": right if shows else "good"})


def generator(
    answer: Callable[[ExecuteRun], RunFinished | None] = examples_answer_right, **custodian: Any
) -> tuple[Generator, ScriptedRuns]:
    database = InMemoryDatabase()
    runs = ScriptedRuns(answer)
    library = FileAndStoreLibrary(seed_templates(LIBRARY), MongoLearnedTemplates(database))
    at = Generator(
        MongoRequestStore(database), library, ScriptedCustodian(**custodian), runs, Announcements(), NoHistory(), SystemClock()
    )
    return at, runs


def asked(**changes: Any) -> GeneratePipeline:
    return request(examples=tuple(cases(60)), **changes)


def proposal_in(effects: Sequence[tuple[str, Message]]) -> ProposeChange:
    return next(message for _, message in effects if isinstance(message, ProposeChange))


async def test_the_candidate_that_measures_best_is_proposed() -> None:
    at, _ = generator()
    proposal = proposal_in(await generate_pipeline(asked(), at))
    assert "Examples:" in proposal.document["steps"][0]["prompt"]
    evidence = proposal.evidence[0]
    assert evidence.score is not None
    assert evidence.baseline is not None
    assert evidence.score.mean == 1.0
    assert evidence.baseline.mean < 0.7


async def test_every_tried_candidate_is_scored_for_the_learner() -> None:
    at, _ = generator()
    scored = [message for _, message in await generate_pipeline(asked(), at) if isinstance(message, PipelineScored)]
    assert len(scored) >= 4
    assert all(fact.parameters["labels"] == ["good", "bad"] for fact in scored)


async def test_trial_runs_never_exceed_the_requests_budget() -> None:
    at, runs = generator()
    await generate_pipeline(asked(constraints={"generation_calls": 30}), at)
    assert len([command for command in runs.commands if command.purpose == "trial"]) <= 30


async def test_a_redelivered_request_asks_for_the_same_runs() -> None:
    at, runs = generator()
    first = proposal_in(await generate_pipeline(asked(), at))
    ids = [command.run_id for command in runs.commands]
    await at.requests.update("r1", {"status": "accepted"})  # as if it had been killed before its proposal
    runs.commands.clear()
    assert proposal_in(await generate_pipeline(asked(), at)).document == first.document
    assert [command.run_id for command in runs.commands] == ids


async def test_a_pipeline_without_calls_can_be_asked_for() -> None:
    at, _ = generator()
    proposal = proposal_in(await generate_pipeline(asked(constraints={"max_calls": 0}), at))
    assert {step["type"] for step in proposal.document["steps"]} == {"function"}


async def test_degraded_answers_never_win() -> None:
    def degraded(command: ExecuteRun) -> RunFinished | None:
        run = examples_answer_right(command)
        return run.model_copy(update={"status": "degraded"}) if run else None

    at, _ = generator(degraded)
    (effect,) = await generate_pipeline(asked(), at)
    assert isinstance(effect[1], RequestFinished)
    assert effect[1].outcome == "no_candidate"


async def test_a_refused_scope_rejects_the_request_with_the_reason() -> None:
    at, runs = generator(refuse="domain 'reviews' is not allowed")
    (effect,) = await generate_pipeline(asked(), at)
    assert isinstance(effect[1], RequestRejected)
    assert "not allowed" in effect[1].problems[0].reason
    assert runs.commands == []


async def test_a_dataset_of_another_domain_contradicts_the_request() -> None:
    at, _ = generator(dataset=cases(60))
    (effect,) = await generate_pipeline(request(dataset_id="d1", domain="other"), at)
    assert isinstance(effect[1], RequestRejected)
    assert effect[1].problems[0].path == "domain"


async def test_the_same_rejected_request_is_answered_again() -> None:
    at, _ = generator(refuse="no")
    await generate_pipeline(asked(), at)
    (effect,) = await generate_pipeline(asked(), at)
    assert isinstance(effect[1], RequestRejected)


async def test_a_model_that_never_answers_does_not_hold_up_the_templates() -> None:
    at, _ = generator()
    await generate_pipeline(asked(), at)
    record = await at.requests.get("r1")
    assert record is not None
    synthesis = [one for one in record["pending"]["candidates"] if one["strategy"] == "synthesis"]
    assert synthesis[0]["outcome"] == "timed_out"


async def test_a_synthesised_pipeline_takes_part() -> None:
    def with_synthesis(command: ExecuteRun) -> RunFinished | None:
        if command.purpose == "meta":
            return finished(command, {"steps": [{"name": "judge", "type": "claude_robust", "prompt": "Judge it."}]})
        number = int(command.inputs["text"].split()[-1])
        own = (command.document or {})["steps"][-1]["name"].startswith("judge")
        return finished(command, {"answer": ("good", "bad")[number % 2] if own else "good"})

    at, _ = generator(with_synthesis)
    proposal = proposal_in(await generate_pipeline(asked(), at))
    assert load_document(proposal.document).steps[0].type == "claude_robust"


async def test_progress_is_told_while_it_works() -> None:
    at, _ = generator()
    await generate_pipeline(asked(), at)
    assert isinstance(at.announcer, Announcements)
    stages = [message.stage for message in at.announcer.messages if isinstance(message, RequestProgressed)]
    assert stages[0] == "candidates"
    assert stages[-1] == "proposal"


async def verdict_on(at: Generator, kind: type[ChangeQueued] | type[ChangeVetoed]) -> list[tuple[str, Message]]:
    proposal = proposal_in(await generate_pipeline(asked(), at))
    fields = {
        "change_id": proposal.change_id,
        "kind": "revision",
        "pipeline": "p",
        "digest": "d",
        "author": "generator",
        "risk": 0.1,
    }
    return await record_verdict(
        kind.model_validate({**fields, "reasons": ("because",), "vetoed_by": "policy:x", "group_id": "r1"}), at
    )


async def test_a_veto_ends_the_request_with_its_reasons() -> None:
    at, _ = generator()
    ((_, ended),) = await verdict_on(at, ChangeVetoed)
    assert isinstance(ended, RequestFinished)
    assert (ended.outcome, ended.reasons) == ("vetoed", ("because",))
    record = await at.requests.get("r1")
    assert record is not None
    assert record["status"] == "vetoed"


async def test_a_late_queued_fact_does_not_undo_a_verdict() -> None:
    at, _ = generator()
    await verdict_on(at, ChangeVetoed)
    record = await at.requests.get("r1")
    assert record is not None
    queued = ChangeQueued(
        change_id=record["change_id"],
        kind="revision",
        pipeline="p",
        digest="d",
        author="generator",
        risk=0.5,
        reasons=(),
        group_id="r1",
    )
    assert await record_verdict(queued, at) == []


async def test_a_verdict_on_another_change_is_ignored() -> None:
    at, _ = generator()
    await generate_pipeline(asked(), at)
    stranger = ChangeVetoed(
        change_id="x", kind="revision", pipeline="p", digest="d", author="z", vetoed_by="policy", reasons=(), group_id="r1"
    )
    assert await record_verdict(stranger, at) == []


async def test_a_learned_template_is_tried_and_a_revoked_one_is_not() -> None:
    at, _ = generator()
    seed = next(template for template in seed_templates(LIBRARY) if template.name == "classify_direct")
    document = {**seed.document, "name": "classify_learned_x"}
    await learn_template(
        TemplateLearned(template="classify_learned_x", digest="t" * 64, domain="library", document=document, support=3), at
    )
    assert "learned:" + "t" * 64 in {template.origin for template in await at.library.templates()}
    await forget_templates(["t" * 64], at)
    assert all(
        isinstance(template, Template) and template.origin.startswith("library:") for template in await at.library.templates()
    )


@pytest.mark.parametrize("text", ["{{ run.secrets }}", "{% for x in y %}", "[[ labels ]]"])
async def test_requirements_are_never_read_as_a_template(text: str) -> None:
    at, _ = generator()
    proposal = proposal_in(await generate_pipeline(asked(requirements=f"Judge. {text}"), at))
    assert set(load_document(proposal.document).inputs) == {"text"}
