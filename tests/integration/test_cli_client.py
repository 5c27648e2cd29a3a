"""The client and the command on a real broker; scripted services answer."""

from __future__ import annotations

import asyncio
import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from nats.aio.msg import Msg
from nats.js import JetStreamContext

from evoline.client import Client
from evoline.client.connection import connected, find_bus
from evoline.client.talk import TooLateError
from shared.errors import InvalidInputError, NotFoundError, Problem, UnavailableError
from shared.events import Fact
from shared.events.changes import ChangeApproved, ChangeQueued, ReviewRefused
from shared.events.datasets import DatasetRefused, DatasetRegistered, RegisterDataset
from shared.events.deployments import PipelineRolledBack, RollbackRefused
from shared.events.generation import GeneratePipeline, RequestAccepted, RequestFinished, RequestProgressed, RequestRejected
from shared.events.operations import CommandRefused
from shared.events.runs import ExecuteRun, RunFinished
from shared.events.values import Attestation, Case, Constraints, GraderSpec
from shared.messaging import envelope
from shared.messaging.bus import Bus
from shared.settings import SharedSettings
from tests.conftest import OpenBus
from tests.eventually import eventually
from tests.fakes.people import key_file
from tests.integration.commands import Command

Answer = Callable[[dict[str, Any], Msg], list[Fact] | dict[str, Any] | Exception]
"""What a scripted service says to a command (facts) or a query (data, or an error)."""


class ScriptedServices:
    """Answers by subject; the latest script of a subject counts."""

    def __init__(self, bus: Bus) -> None:
        self._bus = bus
        self._answers: dict[str, Answer] = {}
        self.heard: list[str] = []

    async def start(self) -> None:
        await self._bus.client.subscribe("cmd.>", cb=self._on_message)
        await self._bus.client.subscribe("api.>", cb=self._on_message)
        await self._bus.client.flush()

    def script(self, subject: str, answer: Answer) -> None:
        self._answers[subject] = answer

    async def _on_message(self, message: Msg) -> None:
        self.heard.append(message.subject)
        answer = self._answers.get(message.subject)
        if answer is None:
            return
        said = answer(json.loads(message.data), message)
        if isinstance(said, list):
            for number, fact in enumerate(said):
                await self._bus.publish(fact, cause=os.urandom(8).hex(), effect=str(number))
        elif message.reply:
            await message.respond(envelope.failure(said) if isinstance(said, Exception) else envelope.success(said))


@pytest.fixture
async def services(open_bus: OpenBus) -> ScriptedServices:
    scripted = ScriptedServices(await open_bus("test"))
    await scripted.start()
    return scripted


@pytest.fixture
async def client(open_bus: OpenBus) -> Client:
    return Client(await open_bus("cli"), author="ada")


def request(request_id: str) -> GeneratePipeline:
    return GeneratePipeline(
        request_id=request_id, requirements="classify", domain="support", constraints=Constraints(generation_seconds=5)
    )


def finished(request_id: str, outcome: str = "approved") -> RequestFinished:
    return RequestFinished.model_validate({"request_id": request_id, "outcome": outcome, "pipeline": "triage", "digest": "a" * 64})


def ended(run_id: str, **fields: Any) -> RunFinished:
    values = {"run_id": run_id, "pipeline": "triage", "digest": "a" * 64, "domain": "support", "purpose": "production"}
    return RunFinished.model_validate({**values, "status": "succeeded", "outputs": {"answer": "yes"}, **fields})


def approved(change_id: str) -> ChangeApproved:
    attestation = Attestation(
        kind="revision",
        digest="a" * 64,
        scope="triage",
        domain="support",
        policy_revision="1",
        issued_at="",
        expires_at="",
        key_id="k",
    )
    return ChangeApproved(
        change_id=change_id, kind="revision", pipeline="triage", digest="a" * 64, document={}, domain="support", author="bob",
        approved_by="ada", risk=0.5, reasons=("fine",), policy_revision="1", attestation=attestation,
    )  # fmt: skip


async def test_a_request_is_followed_to_its_verdict_and_foreign_facts_are_not_shown(
    services: ScriptedServices, client: Client
) -> None:
    def answer(body: dict[str, Any], _: Msg) -> list[Fact]:
        mine = body["request_id"]
        return [
            RequestAccepted(request_id=mine, pipeline="triage", domain="support"),
            RequestProgressed(request_id="somebody-elses", stage="trials", text="foreign"),
            ended("trial-1", group_id=mine, purpose="trial"),
            RequestProgressed(request_id=mine, stage="trials", text="mine", done=1, total=2),
            finished(mine),
        ]

    services.script("cmd.generator.generate", answer)
    seen: list[Fact] = []
    verdict = await client.generate(request("r-1"), on_fact=seen.append)
    assert verdict.outcome == "approved"
    assert [type(fact).__name__ for fact in seen] == ["RequestAccepted", "RunFinished", "RequestProgressed", "RequestFinished"]


async def test_a_rejected_request_raises_all_its_problems(services: ScriptedServices, client: Client) -> None:
    problems = (Problem(path="domain", reason="not allowed"), Problem(path="examples", reason="one class"))
    services.script("cmd.generator.generate", lambda body, _: [RequestRejected(request_id=body["request_id"], problems=problems)])
    with pytest.raises(InvalidInputError) as caught:
        await client.generate(request("r-2"))
    assert caught.value.problems == problems


async def test_a_dead_lettered_command_is_raised_where_the_refusal_names_our_message(
    services: ScriptedServices, client: Client
) -> None:
    def refuse(body: dict[str, Any], message: Msg) -> list[Fact]:
        common = {"command": message.subject, "service": "generator", "code": "invalid_input"}
        foreign = CommandRefused.model_validate({**common, "message_id": "other", "problems": [{"reason": "foreign"}]})
        ours = {**common, "message_id": (message.headers or {})["Nats-Msg-Id"], "problems": [{"reason": "ours"}]}
        return [foreign, CommandRefused.model_validate(ours)]

    services.script("cmd.generator.generate", refuse)
    with pytest.raises(InvalidInputError, match=r"^ours$"):
        await client.generate(request("r-3"))


async def test_a_dead_lettered_command_is_raised_where_only_the_id_in_its_body_is_ours(
    services: ScriptedServices, client: Client
) -> None:
    def refuse(body: dict[str, Any], message: Msg) -> list[Fact]:
        correlation = body["request_id"]
        return [
            CommandRefused(
                command=message.subject, message_id="", correlation_id=correlation, service="generator", code="x", problems=()
            )
        ]

    services.script("cmd.generator.generate", refuse)
    with pytest.raises(InvalidInputError, match="generator refused"):
        await client.generate(request("r-4"))


async def test_an_end_that_was_told_before_is_asked_for(services: ScriptedServices, client: Client) -> None:
    services.script("cmd.executor.execute", lambda *_: [])
    services.script("api.executor.finished_runs", lambda body, _: {"runs": [ended(body["run_ids"][0]).model_dump(mode="json")]})
    run = await client.execute(ExecuteRun(run_id="run-old", pipeline="triage"))
    assert run.run_id == "run-old"


async def test_waiting_for_a_request_that_ended_answers_at_once_and_for_an_unknown_one_raises(
    services: ScriptedServices, client: Client
) -> None:
    record = {"request_id": "r-5", "status": "queued", "answer": finished("r-5", "queued").model_dump(mode="json")}
    services.script("api.generator.get_request", lambda *_: record)
    assert (await client.wait_for_request("r-5", timeout_seconds=2)).outcome == "queued"
    services.script("api.generator.get_request", lambda *_: NotFoundError("no request 'r-6'"))
    with pytest.raises(NotFoundError):
        await client.wait_for_request("r-6", timeout_seconds=2)


async def test_a_request_that_was_rejected_before_is_raised_when_it_is_waited_for(
    services: ScriptedServices, client: Client
) -> None:
    record = {"request_id": "r-7", "status": "rejected", "problems": [{"reason": "too vague"}]}
    services.script("api.generator.get_request", lambda *_: record)
    with pytest.raises(InvalidInputError, match="too vague"):
        await client.wait_for_request("r-7", timeout_seconds=2)


async def test_not_waiting_any_longer_says_where_to_look_and_what_was_asked_for_goes_on(
    services: ScriptedServices, client: Client
) -> None:
    services.script("cmd.executor.execute", lambda *_: [])
    with pytest.raises(TooLateError, match="it goes on: look later with `evoline show run run-slow`"):
        await client.execute(ExecuteRun(run_id="run-slow", pipeline="triage"), timeout_seconds=0.3)


async def test_cancelling_a_run_that_nobody_knows_says_so_before_long(services: ScriptedServices, client: Client) -> None:
    services.script("cmd.executor.cancel", lambda *_: [])
    services.script("api.executor.get_run", lambda *_: NotFoundError("no run 'run-x'"))
    with pytest.raises(NotFoundError, match="no run 'run-x' is known; should it wait in the queue, it is cancelled when it starts"):
        await client.cancel("run-x")
    services.script("cmd.executor.cancel", lambda body, _: [ended(body["run_id"], status="cancelled")])
    assert (await client.cancel("run-x")).status == "cancelled", "it was about to start"


async def test_the_same_data_set_refused_and_mended_is_sent_again_at_once(services: ScriptedServices, client: Client) -> None:
    cases = tuple(Case(id=f"c{number}", input={"t": "x"}, expected=number) for number in range(3))
    command = RegisterDataset(dataset_id="d-1", domain="support", cases=cases, grader=GraderSpec())
    services.script(command.subject, lambda *_: [DatasetRefused(dataset_id="d-1", problems=(Problem(reason="one class"),))])
    with pytest.raises(InvalidInputError, match="one class"):
        await client.register_dataset(command)
    counts = {"digest": "b" * 64, "domain": "support", "train": 1, "dev": 1, "sealed": 1, "grader_hash": "h"}
    services.script(command.subject, lambda *_: [DatasetRegistered.model_validate({"dataset_id": "d-1", **counts})])
    assert (await client.register_dataset(command)).sealed == 1


async def test_a_review_answers_the_verdict_or_why_the_decision_does_not_count(services: ScriptedServices, client: Client) -> None:
    services.script("api.guardrail.get_review", lambda *_: {"digest": "d" * 64})
    services.script("cmd.guardrail.decide", lambda body, _: [approved(body["change_id"])] if body["digest"] == "d" * 64 else [])
    assert isinstance(await client.review("c-1", "approve"), ChangeApproved)
    refused = ReviewRefused(change_id="c-2", reviewer="ada", reason="the author may not approve")
    services.script("cmd.guardrail.decide", lambda *_: [refused])
    with pytest.raises(InvalidInputError, match="may not approve"):
        await client.review("c-2", "approve")


async def has_listener(jetstream: JetStreamContext) -> bool:
    subjects = [info.config.filter_subjects or [] for info in await jetstream.consumers_info("FACTS")]
    return any("evt.change.queued" in each for each in subjects)


async def test_waiting_for_a_change_passes_over_its_queueing(services: ScriptedServices, client: Client) -> None:
    services.script("api.guardrail.get_change", lambda *_: {"change_id": "c-3"})
    queued = ChangeQueued(change_id="c-3", kind="revision", pipeline="p", digest="d", author="bob", risk=0.9, reasons=("risky",))

    async def decide_later() -> None:
        await eventually(lambda: "api.guardrail.get_change" in services.heard)
        # The position is fixed by the listener's own consumer; before it exists the facts would be history.
        jetstream = client.bus.jetstream
        await eventually(lambda: has_listener(jetstream))
        for number, fact in enumerate((queued, approved("c-3"))):
            await client.bus.publish(fact, cause="decide-c-3", effect=str(number))

    seen: list[Fact] = []
    verdict, _ = await asyncio.gather(client.wait_for_change("c-3", on_fact=seen.append, timeout_seconds=10), decide_later())
    assert isinstance(verdict, ChangeApproved)
    assert [type(fact).__name__ for fact in seen] == ["ChangeQueued", "ChangeApproved"]


async def test_a_rollback_answers_what_was_quarantined_or_why_not(services: ScriptedServices, client: Client) -> None:
    def answer(body: dict[str, Any], _: Msg) -> list[Fact]:
        if body["pipeline"] == "unknown":
            return [RollbackRefused(rollback_id=body["rollback_id"], pipeline="unknown", reason="there is no former revision")]
        values = {key: body[key] for key in ("rollback_id", "pipeline", "reason", "author")}
        return [PipelineRolledBack(**values, from_digest="b" * 64, to_digest="a" * 64, quarantined=("b" * 64,), generation=3)]

    services.script("cmd.guardrail.rollback", answer)
    assert (await client.rollback("triage", "wrong answers")).to_digest == "a" * 64
    with pytest.raises(InvalidInputError, match="no former revision"):
        await client.rollback("unknown", "x")


async def test_no_broker_is_told_as_unavailable(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(UnavailableError, match="evoline up"):
        find_bus({"EVOLINE_HOME": str(tmp_path)}, tmp_path)
    with pytest.raises(UnavailableError, match="no NATS server"):
        async with connected(settings=SharedSettings(nats_url="nats://127.0.0.1:9")):
            pass


async def test_a_run_from_the_command_line_prints_one_document_and_its_code_says_whether_it_succeeded(
    services: ScriptedServices, command: Command
) -> None:
    services.script("cmd.executor.execute", lambda body, _: [ended(body["run_id"], outputs={"answer": body["inputs"]["ticket"]})])
    code, answer, errors = await command("run", "triage", "--input", "ticket=help [me]", "--json")
    assert (code, answer["outputs"], errors) == (0, {"answer": "help [me]"}, "")
    services.script("cmd.executor.execute", lambda body, _: [ended(body["run_id"], status="degraded", error="a fallback answered")])
    code, _, errors = await command("run", "triage")
    assert code == 1
    assert "a fallback answered" in errors and "Traceback" not in errors


async def test_a_run_that_was_refused_before_it_had_a_revision_is_named_alone(services: ScriptedServices, command: Command) -> None:
    refused = {"pipeline": "nope", "digest": "", "status": "refused", "error": "is not deployed"}
    services.script("cmd.executor.execute", lambda body, _: [ended(body["run_id"], **refused)])
    code, _, errors = await command("run", "nope")
    assert code == 1 and "refused: nope in" in errors


async def test_cancelling_what_had_ended_says_that_nothing_was_cancelled(services: ScriptedServices, command: Command) -> None:
    services.script("api.executor.get_run", lambda body, _: {"run_id": body["run_id"], "status": "succeeded"})
    services.script("cmd.executor.cancel", lambda body, _: [ended(body["run_id"], status=body["run_id"])])
    for status, is_told in (("succeeded", True), ("cancelled", False)):
        code, _, errors = await command("cancel", status)
        assert code == 0 and ("nothing was cancelled" in errors) is is_told


async def test_a_fork_has_an_id_of_its_own_beside_who_asks_for_it(
    services: ScriptedServices, command: Command, tmp_path: Path
) -> None:
    key_file(tmp_path / "home" / "keys" / "identities", "alice")
    asked: list[dict[str, Any]] = []

    def fork(body: dict[str, Any], _: Msg) -> list[Fact]:
        asked.append(body)
        return [ended(body["new_run_id"])]

    services.script("cmd.executor.fork", fork)
    code, answer, errors = await command("fork", "run-1", "--run-id", "run-2", "--as", "alice", "--json")
    assert (code, answer and answer["run_id"]) == (0, "run-2"), errors
    assert (asked[0]["new_run_id"], asked[0]["author"]) == ("run-2", "alice")


async def test_a_generation_from_the_command_line_registers_its_data_set_first(
    services: ScriptedServices, command: Command, tmp_path: Path
) -> None:
    file = tmp_path / "tickets.jsonl"
    lines = [{"id": f"c{number}", "input": {"t": "x"}, "expected": "ab"[number % 2]} for number in range(6)]
    file.write_text("".join(json.dumps(line) + "\n" for line in lines))
    counts = {"digest": "b" * 64, "domain": "support", "train": 2, "dev": 2, "sealed": 2, "grader_hash": "h"}
    services.script("api.guardrail.get_dataset", lambda *_: NotFoundError("no such data set"))
    services.script(
        "cmd.guardrail.register_dataset",
        lambda body, _: [DatasetRegistered.model_validate({"dataset_id": body["dataset_id"], **counts})],
    )
    services.script("cmd.generator.generate", lambda body, _: [finished(body["request_id"], body["dataset_id"] and "vetoed")])
    code, answer, _ = await command("generate", "-r", "sort tickets", "-d", "support", "--dataset", str(file), "--json")
    assert (code, answer["outcome"]) == (1, "vetoed")
    assert [each for each in services.heard if each.startswith("cmd.")] == [
        "cmd.guardrail.register_dataset",
        "cmd.generator.generate",
    ]


async def test_what_a_service_says_no_to_is_one_message_with_its_code(services: ScriptedServices, command: Command) -> None:
    services.script("api.guardrail.get_pipeline", lambda *_: NotFoundError("there is no pipeline 'nothing'"))
    code, answer, _ = await command("show", "pipeline", "nothing", "--json")
    assert (code, answer["error"]["code"]) == (1, "not_found")


async def test_applying_the_bus_twice_changes_nothing(command: Command) -> None:
    first, again = await command("bus", "apply", "--json"), await command("bus", "apply", "--json")
    assert first[0] == again[0] == 0
    assert first[1] == again[1] and first[1]["unknown"] == []


async def test_listing_dead_letters_of_an_empty_bus_is_an_empty_list(empty_streams: None, command: Command) -> None:
    assert (await command("bus", "dead-letters", "list", "--json"))[1] == {"dead_letters": []}
    code, _, errors = await command("bus", "dead-letters", "redrive", "99")
    assert code == 1 and "no dead letter 99" in errors
