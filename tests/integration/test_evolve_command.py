"""`evoline evolve` and `experiment start` as processes against the real service: left with Ctrl-C, come back to, asked again."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from evoline.client import Client
from evoline.client.lineage import Lineages
from shared.errors import NotFoundError
from shared.events import Message
from shared.events.improvement import StartEvolution
from shared.events.runs import ExecuteRun
from shared.messaging.handling import Delivery
from tests.conftest import OpenBus
from tests.fakes.evolution_world import seed_document
from tests.integration.commands import Command
from tests.integration.test_evolution_service import ScriptedExecutor, ScriptedGuardrail, public_key, stage

pytestmark = pytest.mark.usefixtures("empty_streams")
__all__ = ["public_key"]


@dataclass
class SlowExecutor(ScriptedExecutor):
    seconds: float = 0.05

    async def execute(self, command: ExecuteRun, delivery: Delivery) -> Sequence[tuple[str, Message]]:
        await asyncio.sleep(self.seconds)
        return await super().execute(command, delivery)


async def started(nats_url: str, home: Path, *arguments: str) -> asyncio.subprocess.Process:
    environment = os.environ | {"EVOLINE_NATS_URL": nats_url, "EVOLINE_HOME": str(home)}
    line = [sys.executable, "-m", "evoline.cli", *arguments]
    pipe = asyncio.subprocess.PIPE
    return await asyncio.create_subprocess_exec(*line, env=environment, stdout=pipe, stderr=pipe)


async def read_until(process: asyncio.subprocess.Process, words: str) -> str:
    assert process.stderr is not None
    said = ""
    async with asyncio.timeout(60):
        while words not in said:
            line = await process.stderr.readline()
            assert line, said
            said += line.decode()
    return said


async def test_the_same_command_comes_back_to_the_same_evolution(
    open_bus: OpenBus, nats_url: str, mongo_url: str, command: Command, tmp_path: Path
) -> None:
    executor = SlowExecutor()
    async with stage(open_bus, nats_url, mongo_url, ScriptedGuardrail(), executor) as on:
        words = ["evolve", "tweets", "--dataset-id", f"tweets-{uuid.uuid4().hex[:12]}", "--budget", "120"]
        words += ["--seed", "1"]  # with which so few evaluations find something
        process = await started(nats_url, tmp_path, *words)
        await read_until(process, "search: ")
        process.send_signal(signal.SIGINT)
        out, left = await process.communicate()
        assert process.returncode == 130 and out == b""
        assert b"goes on without you" in left and b"the same command again" in left

        code, answer, shown = await command(*words, "--json")
        assert (code, shown) == (0, "")
        assert answer["verdict"] == "certified" and f"{answer['evolution_id']} goes on" in left.decode()
        assert answer["evaluations"] == len(executor.evaluated) == len(set(executor.evaluated))

        code, shown, errors = await command(*words, "--report", str(tmp_path / "report"))
        assert "--new starts another" in errors and "certified" in shown and len(on.guardrail.proposals) == 1
        assert {file.name for file in (tmp_path / "report").iterdir()} == {"gain.png", "front.png", "lineage.png", "index.html"}

        code, shown, errors = await command("lineage", "tweets", "--all", "--html", str(tmp_path / "tree.html"))
        assert code == 0, errors
        assert answer["evolution_id"] in shown and "certified +0.120" in shown and "● stable" in shown
        assert "<svg" in (tmp_path / "tree.html").read_text()

        asked = Lineages(Client(on.bus))
        around = (await asked.of(answer["best_digest"][:12])).nodes
        assert {answer["seed_digest"], answer["best_digest"]} <= set(around)
        best = around[answer["best_digest"]]
        assert best.verdict == "certified" and best.score is not None and best.score["cases"] > 0
        changed = await asked.revision(answer["best_digest"])
        assert changed["parent"] in around and changed["parent_document"] != changed["document"]
        with pytest.raises(NotFoundError, match="no-such-thing"):
            await asked.of("no-such-thing")


async def test_an_experiment_that_is_left_tells_the_way_back_to_it(
    open_bus: OpenBus, nats_url: str, mongo_url: str, command: Command, tmp_path: Path
) -> None:
    variant, other = tmp_path / "short.json", seed_document()
    other["steps"][0]["prompt"] = "Mood? {{ text }}"
    variant.write_text(json.dumps(other))
    executor = SlowExecutor()
    async with stage(open_bus, nats_url, mongo_url, ScriptedGuardrail(), executor):
        words = ["experiment", "start", "tweets", str(variant), "--dataset-id", f"tweets-{uuid.uuid4().hex[:12]}"]
        process = await started(nats_url, tmp_path, *words)
        await read_until(process, "scope: ")
        process.send_signal(signal.SIGINT)
        out, left = await process.communicate()
        assert process.returncode == 130 and out == b""
        assert b"goes on without you. Follow it: the same command again" in left

        _, answer, _ = await command(*words, "--json")
        assert f"evoline experiment show {answer['experiment_id']}" in left.decode()
        assert answer["evaluations"] == len(executor.evaluated) == len(set(executor.evaluated)) > 0


async def test_an_order_that_is_given_again_meanwhile_is_searched_once(open_bus: OpenBus, nats_url: str, mongo_url: str) -> None:
    executor = SlowExecutor()
    async with stage(open_bus, nats_url, mongo_url, ScriptedGuardrail(), executor) as on:
        unique = uuid.uuid4().hex[:12]
        fields: dict[str, Any] = {"evolution_id": f"evo-{unique}", "pipeline": "tweets", "dataset_id": unique, "evaluations": 60}
        order = StartEvolution.model_validate(fields)
        await on.bus.publish(order, cause="somebody")
        answer, _ = await on.evolve(**json.loads(order.model_dump_json()))
        assert answer.evaluations == len(executor.evaluated) == len(set(executor.evaluated)) <= 60
