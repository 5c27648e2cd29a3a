"""Logs, export and import of runs by the command line, on a real broker and a real store."""

from __future__ import annotations

import asyncio
import json
import uuid
from pathlib import Path
from typing import Any

import pytest

from evoline.client import Client
from evoline.client.control import RunControl
from evoline.client.transfer import RunTransfer
from shared.errors import InvalidInputError, NotFoundError
from shared.events.runs import ExecuteRun, ForkRun, GetRun, ListRuns, RunFinished
from shared.messaging.bus import Bus
from shared.messaging.fleet import Fleet
from shared.messaging.provisioning import provision
from shared.pipeline.completion import Completion, CompletionRequest
from shared.storage import MongoStore
from tests.conftest import OpenBus
from tests.eventually import eventually
from tests.fakes.executor import Notary
from tests.fakes.language_model import ScriptedModel
from tests.fakes.people import key_file
from tests.integration.commands import Command
from tests.integration.executors import StartExecutor

pytestmark = pytest.mark.usefixtures("empty_streams")

STEPS = [{"name": f"s{n}", "type": "claude", "prompt": "{{ word }} " + str(n), "context": "none"} for n in range(3)]
ASKING = {"name": "asking", "inputs": {"word": "string"}, "steps": STEPS, "outputs": {"said": "{{ steps.s2.text }}"}}
LARGE = "x" * 400_000


async def run_to_the_end(bus: Bus, run_id: str) -> None:
    order = ExecuteRun(run_id=run_id, pipeline="asking", inputs={"word": "rain"})
    await Fleet(bus).run_all([order], max_in_flight=1, deadline_seconds=30)


class Held(ScriptedModel):
    """Answers once it is released."""

    def __init__(self, release: asyncio.Event) -> None:
        super().__init__()
        self._release = release

    async def complete(self, request: CompletionRequest) -> Completion:
        completion = await super().complete(request)
        await self._release.wait()
        return completion


async def forget_everything(bus: Bus, store: MongoStore) -> None:
    """As another stack would be: no runs, no values."""
    await store.drop_database("evoline_executor")
    await bus.jetstream.delete_object_store("values")
    await provision(bus.client)


async def test_a_run_is_exported_and_imported_on_another_stack(
    start_executor: StartExecutor, open_bus: OpenBus, store: MongoStore, notary: Notary, command: Command, tmp_path: Path
) -> None:
    await notary.deploy(store.database("evoline_guardrail"), ASKING)
    await start_executor(ScriptedModel(lambda request: LARGE if "snow" not in request.messages[0].text else "white"))
    bus, run_id, file = await open_bus("cli"), f"run-{uuid.uuid4().hex[:8]}", str(tmp_path / "run.json")
    await run_to_the_end(bus, run_id)
    code, exported, _ = await command("export", run_id, "--out", file, "--json")
    assert (code, exported["status"], exported["redacted"]) == (0, "succeeded", [])
    assert exported["bytes"] > 3 * len(LARGE)
    await forget_everything(bus, store)
    key_file(tmp_path / "home" / "keys" / "identities", "bob")
    code, told, _ = await command("import", file, "--author", "bob", "--json")
    assert (code, told["sha256"], told["lines"]) == (0, exported["sha256"], 3)
    transfer, control = RunTransfer(bus, author="eve"), RunControl(bus)
    body = await asyncio.to_thread(Path(file).read_bytes)
    assert (await transfer.take_in(body)).sha256 == exported["sha256"], "the same file again changes nothing"
    shown = await bus.ask(GetRun(run_id=run_id))
    assert [(each["verb"], each["author"]) for each in shown["controls"]] == [("import", "bob")]
    assert [(each["run_id"], each["imported"]) for each in (await bus.ask(ListRuns()))["runs"]] == [(run_id, True)]
    log = await transfer.log(run_id)
    assert [line["kind"] for line in log.lines] == ["started", "step", "step", "step", "finished", "control"]
    with pytest.raises(InvalidInputError, match="it was imported"):
        await Client(bus).cancel(run_id)
    forked = await control.fork(ForkRun(run_id=run_id, new_run_id=f"{run_id}-2", from_step="s2", inputs={"word": "snow"}))
    assert isinstance(forked, RunFinished)
    assert (forked.outputs, forked.usage.calls) == ({"said": "white"}, 1)
    assert (await transfer.export(run_id))["journal"] == json.loads(body)["journal"]


async def test_what_is_wrong_with_a_file_is_told_with_file_and_place(
    start_executor: StartExecutor, open_bus: OpenBus, store: MongoStore, notary: Notary, command: Command, tmp_path: Path
) -> None:
    await notary.deploy(store.database("evoline_guardrail"), ASKING)
    await start_executor(ScriptedModel())
    bus, run_id = await open_bus("cli"), f"run-{uuid.uuid4().hex[:8]}"
    await run_to_the_end(bus, run_id)
    transfer, edited = RunTransfer(bus), tmp_path / "edited.json"
    file = await transfer.export(run_id)
    with pytest.raises(InvalidInputError, match=rf"run\.run_id: {run_id} is the id of another run"):
        await transfer.take_in(json.dumps(file).encode())
    for body, told in ((b'{"run":\n  oops}', "2: is not JSON"), (b"[]", "is no run's file"), (b"\xff", "is not JSON")):
        with pytest.raises(InvalidInputError, match=told):
            await transfer.take_in(body)
    with pytest.raises(NotFoundError, match="no run 'unknown'"):
        await transfer.export("unknown")
    with pytest.raises(NotFoundError, match="no run 'unknown'"):
        await transfer.log("unknown")
    file["run"]["finished"]["outputs"] = {"said": "something better"}
    edited.write_text(json.dumps(file))
    code, _, errors = await command("import", str(edited))
    assert (code, f"{edited} sha256: the file was changed or damaged" in errors) == (1, True)


async def test_the_log_of_a_run_is_followed_to_its_end(
    start_executor: StartExecutor, open_bus: OpenBus, store: MongoStore, notary: Notary, command: Command
) -> None:
    await notary.deploy(store.database("evoline_guardrail"), ASKING)
    release = asyncio.Event()
    model = Held(release)
    await start_executor(model)
    bus, run_id = await open_bus("cli"), f"run-{uuid.uuid4().hex[:8]}"
    running = asyncio.create_task(run_to_the_end(bus, run_id))
    following = asyncio.ensure_future(command("logs", "run", run_id, "--follow"))
    await eventually(lambda: model.requests)
    asyncio.get_running_loop().call_later(1.0, release.set)
    code, text, errors = await following
    await running
    lines: list[Any] = text.splitlines()
    assert code == 0 and f"run {run_id}: succeeded" in errors
    assert [line.split()[2] for line in lines] == ["started", "step", "step", "step", "finished"]
