"""The system's main job on the whole stack: real broker, real store, real model, six services, three executors."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import uuid
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import nats
import pytest

from evoline.client.api import Client, new_id
from evoline.demo.report import DemoReport
from shared.errors import NotFoundError
from shared.events.changes import ChangeApproved, GetChange, ProposeChange
from shared.events.oversight import ReviewRecorded
from shared.events.runs import ExecuteRun, GetRun
from shared.messaging.bus import Bus
from tests.e2e.conftest import ROOT, Stack
from tests.eventually import eventually

pytestmark = [pytest.mark.model, pytest.mark.one_at_a_time("usual ports"), pytest.mark.timeout(600)]
DATASET = ROOT / "pipelines" / "examples" / "sentiment_tweets3.jsonl"


@asynccontextmanager
async def client_of(stack: Stack, author: str = "tester") -> AsyncIterator[Client]:
    """Signs with a key that `evoline people` made."""
    key = stack.json("people", "add", author, "--role", "reviewer", "--role", "admin") and stack.key_file(author)
    settings = stack.settings("client").model_copy(update={"identity_key_file": key})
    bus = await Bus.connect(settings, service="tester")
    try:
        yield Client(bus, author=author)
    finally:
        await bus.close()


def counting(name: str, **changes: Any) -> dict[str, Any]:
    """A pipeline without a model that answers how long its text is."""
    steps = [{"name": "length", "type": "set_variable", "variable": "length", "value": "{{ text | length }}"}]
    return {"name": name, "domain": "general", "steps": steps, "outputs": {"answer": "{{ steps.length.value }}"}, **changes}


async def propose(client: Client, document: dict[str, Any], **changes: Any) -> ProposeChange:
    command = ProposeChange.model_validate(
        {
            "change_id": new_id("change"),
            "kind": "revision",
            "pipeline": document["name"],
            "document": document,
            "domain": document["domain"],
            "author": "tester",
            **changes,
        }
    )
    await client.bus.publish(command, cause=command.change_id)
    return command


async def decided(client: Client, change_id: str) -> dict[str, Any]:
    async def settled() -> dict[str, Any]:
        try:
            record: dict[str, Any] = await client.ask(GetChange(change_id=change_id))
        except NotFoundError:
            return {}  # not taken up yet
        # Approved is written before it takes effect, so that a crash in between is made up for.
        done = record["applied"] if record["status"] == "approved" else record["status"] in {"vetoed", "queued"}
        return record if done else {}

    return await eventually(settled, timeout_seconds=60)


async def approved(client: Client, reviewer: Client, document: dict[str, Any]) -> str:
    """Proposes, lets a person approve where policy asks for one, and returns the digest that is stable now."""
    command = await propose(client, document)
    record = await decided(client, command.change_id)
    if record["status"] == "queued":
        assert isinstance(await reviewer.review(command.change_id, "approve"), ChangeApproved)
        record = await decided(client, command.change_id)
    assert record["status"] == "approved", record
    return str(record["digest"])


def test_the_demo_does_the_whole_job_and_reports_it(stack: Stack) -> None:
    printed = stack.evoline("demo", "--cases", "12", "--evaluations", "60", timeout_seconds=580).stdout
    report = DemoReport.model_validate_json((stack.home / "demo" / "report.json").read_text())
    assert isinstance(report.verdict, ChangeApproved)
    assert report.verdict.attestation.signature
    assert report.heldout is not None
    assert report.heldout.scores["pipeline"].cases == 12
    assert {"template", "synthesis"} <= {candidate.strategy for candidate in report.answer.candidates}
    assert [run.status for run in report.samples] == ["succeeded"] * 3
    assert all(served.startswith("local/qwen2.5") for served in report.served_by)
    assert report.learned.mined.revisions >= 3
    assert report.evolved is not None
    assert report.evolved.finished.evaluations <= 60
    assert report.evolved.finished.deployed == (report.evolved.finished.verdict == "certified")
    for heading in ("Who approved it", "Score on sealed cases", "What the learner extracted", "Evolution", "Where to look next"):
        assert heading in printed


async def test_a_raw_nats_client_gets_what_the_command_line_gets(stack: Stack, tmp_path: Path) -> None:
    """Plain JSON without any header; the request allows no model call, so the answer is exactly repeatable."""
    lines = [json.loads(line) for line in DATASET.read_text().splitlines()]
    cases = [{key: row[key] for key in ("id", "input", "expected")} for row in lines if row["split"] == "train"][:60]
    file = tmp_path / "cases.jsonl"
    file.write_text("".join(json.dumps(case) + "\n" for case in cases))
    words = "Say whether the tweet is positive, neutral or negative."
    name = f"raw_{uuid.uuid4().hex[:8]}"
    body = {
        "request_id": f"raw-{name}",
        "requirements": words,
        "domain": "sentiment",
        "name": name,
        "examples": cases,
        "constraints": {"max_calls": 0},
    }
    connection = await nats.connect(stack.nats_url, nkeys_seed=str(stack.settings("client").nats_seed_file))
    told: asyncio.Queue[dict[str, Any]] = asyncio.Queue()

    async def on_finished(message: Any) -> None:
        told.put_nowait(json.loads(message.data))

    await connection.subscribe("evt.request.finished", cb=on_finished)
    await connection.publish("cmd.generator.generate", json.dumps(body).encode())
    raw = await asyncio.wait_for(told.get(), 90)
    await connection.drain()
    typed = await asyncio.to_thread(
        stack.json,
        *(
            "generate",
            "--requirements",
            words,
            "--domain",
            "sentiment",
            "--name",
            f"{name}_cli",
            "--examples",
            str(file),
            "--max-calls",
            "0",
        ),
    )
    assert (raw["outcome"], typed["outcome"]) == ("approved", "approved")
    best = [next(one for one in answer["candidates"] if one["outcome"] == "proposed") for answer in (raw, typed)]
    assert [(one["origin"], one["trial"]) for one in best[:1]] == [(one["origin"], one["trial"]) for one in best[1:]]


async def test_killed_executors_lose_no_run_and_repeat_no_finished_step(stack: Stack) -> None:
    slow = {
        "name": f"slow_{uuid.uuid4().hex[:8]}",
        "domain": "general",
        "steps": [
            {"name": f"step_{n}", "type": "claude", "prompt": f"{n}: repeat the word {{{{ text }}}} once.", "max_tokens": 8}
            for n in range(4)
        ],
    }
    async with client_of(stack) as client, client_of(stack, "reviewer") as reviewer:
        await approved(client, reviewer, slow)
        commands = [ExecuteRun(run_id=new_id("kill"), pipeline=slow["name"], inputs={"text": f"word{n}"}) for n in range(12)]
        runs = [asyncio.create_task(client.execute(command, timeout_seconds=240)) for command in commands]
        await eventually(lambda: any(run.done() for run in runs), timeout_seconds=120)
        victim = next(one for one in stack.state["processes"] if one["name"] == "executor-1")
        os.kill(victim["pid"], signal.SIGKILL)
        finished = await asyncio.gather(*runs)
        assert [run.status for run in finished] == ["succeeded"] * 12
        journals = [(await client.ask(GetRun(run_id=run.run_id)))["steps"] for run in finished]
    assert all([step["position"] for step in journal] == [f"step_{n}" for n in range(4)] for journal in journals)
    assert len({run.executor_id for run in finished}) >= 2
    await eventually(lambda: "executor-1" in {p["name"] for p in stack.state["processes"] if p["pid"] != victim["pid"]}, 60)


async def test_a_rollback_brings_the_former_revision_back_and_quarantines_the_bad_one(stack: Stack) -> None:
    name = f"count_{uuid.uuid4().hex[:8]}"
    async with client_of(stack) as client, client_of(stack, "reviewer") as reviewer:
        first = await approved(client, reviewer, counting(name))
        second = await approved(client, reviewer, counting(name, description="another revision"))
        assert (await client.run(name, {"text": "abc"})).digest == second
        rolled_back = json.loads(stack.evoline("rollback", name, "--reason", "worse", "--json").stdout)
        assert (rolled_back["from_digest"], rolled_back["to_digest"]) == (second, first)
        after = await client.run(name, {"text": "abc"})
        assert (after.digest, after.outputs) == (first, {"answer": 3})
        refused = await client.run(f"{name}@{second}", {"text": "abc"})
        assert (refused.status, refused.error_code) == ("refused", "not_attested")


async def test_a_major_change_waits_for_people_and_its_author_cannot_approve_it(stack: Stack) -> None:
    name = f"files_{uuid.uuid4().hex[:8]}"
    document = {
        "name": name,
        "domain": "general",
        "steps": [{"name": "keep", "type": "file_ops", "operation": "write", "path": "note.txt", "content": "{{ text }}"}],
    }
    async with client_of(stack) as client, client_of(stack, "reviewer") as reviewer:
        command = await propose(client, document)
        assert (await decided(client, command.change_id))["status"] == "queued"
        assert command.change_id in stack.evoline("review", "list").stdout
        assert (await client.run(name, {"text": "x"})).status == "refused"
        own = stack.evoline("review", "approve", command.change_id, "--author", "tester", check=False)
        assert own.returncode == 1
        shown = stack.evoline("review", "show", command.change_id).stdout
        assert "never by tester" in shown and "file_ops" in shown and "2 missing" in shown
        assert isinstance(await reviewer.review(command.change_id, "approve"), ReviewRecorded)
        assert (await client.run(name, {"text": "x"})).status == "refused"
        # Whoever started the stack is registered with it.
        stack.evoline("review", "approve", command.change_id, "--comment", "fine")
        await decided(client, command.change_id)
        assert (await client.run(name, {"text": "x"})).status == "succeeded"


async def test_what_nobody_approved_never_runs(stack: Stack) -> None:
    async with client_of(stack) as client:
        unknown = await client.run("never_proposed", {})
        assert (unknown.status, unknown.error_code) in {("refused", "not_attested"), ("refused", "not_found")}
        smuggled = ExecuteRun(run_id=new_id("smuggled"), document=counting("smuggled"), inputs={"text": "abc"})
        assert (await client.execute(smuggled)).status == "refused"


def test_bad_requests_say_what_is_wrong_and_create_nothing(stack: Stack, tmp_path: Path) -> None:
    one_class = tmp_path / "one.jsonl"
    one_class.write_text(
        "".join(json.dumps({"id": f"c{n}", "input": {"text": f"t{n}"}, "expected": "good"}) + "\n" for n in range(12))
    )
    broken = tmp_path / "broken.jsonl"
    broken.write_text('{"id": "a", "input": {"text": "t"}, "expected": "x"}\n{nonsense\n')
    ask = ("generate", "--requirements", "Judge the text.", "--domain")
    attempts = {
        "one class": stack.evoline(*ask, "sentiment", "--examples", str(one_class), "--grader", "label", check=False),
        "line 2": stack.evoline(*ask, "sentiment", "--examples", str(broken), check=False),
        "domain": stack.evoline(*ask, "weapons_design", "--examples", str(one_class), "--grader", "exact", check=False),
    }
    for words, done in attempts.items():
        assert done.returncode == 1, (words, done.stdout, done.stderr)
        assert "Traceback" not in done.stderr


async def test_malformed_commands_are_answered_and_kept_as_dead_letters(stack: Stack) -> None:
    connection = await nats.connect(stack.nats_url, nkeys_seed=str(stack.settings("client").nats_seed_file))
    told: asyncio.Queue[dict[str, Any]] = asyncio.Queue()

    async def on_refused(message: Any) -> None:
        told.put_nowait(json.loads(message.data))

    await connection.subscribe("evt.command.refused", cb=on_refused)
    await connection.publish("cmd.generator.generate", b"{nonsense")
    await connection.publish("cmd.generator.generate", json.dumps({"request_id": "odd", "requirments": "typo"}).encode())
    refusals = [await asyncio.wait_for(told.get(), 30) for _ in range(2)]
    await connection.drain()
    named = next(refusal for refusal in refusals if refusal["correlation_id"] == "odd")
    assert {"requirements", "requirments", "domain"} <= {problem["path"] for problem in named["problems"]}
    assert "cmd.generator.generate" in stack.evoline("bus", "dead-letters", "list").stdout


def test_up_twice_is_harmless_and_everything_is_ready(stack: Stack) -> None:
    before = {one["name"]: one["pid"] for one in stack.state["processes"]}
    stack.evoline("up")
    assert {one["name"]: one["pid"] for one in stack.state["processes"]} == before
    view = stack.json("status")
    assert {"nats", "mongo", "model", "generator", "guardrail", "executor-3"} <= {one["name"] for one in view["processes"]}
    assert all(one["ready"] for one in view["processes"])


def test_the_shipped_pipelines_validate(stack: Stack) -> None:
    assert stack.evoline("validate", "pipelines/meta", "pipelines/library").returncode == 0
