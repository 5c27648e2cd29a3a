"""One conversation over processes that come and go, on a real store."""

from __future__ import annotations

import asyncio
import json
import os
import sys
from asyncio.subprocess import PIPE
from typing import Any

from shared.storage import MongoStore

TALKER = """
import asyncio, json, os, sys
from pydantic import SecretStr
from shared.events.runs import ExecuteRun
from shared.storage import connect
from tests.fakes.executor import ExecutorKit
from tests.fakes.language_model import ScriptedModel

async def main(url, run_id, prompt):
    model = ScriptedModel(lambda request: f"answer to: {request.messages[-1].text}", 0.05)
    kit = ExecutorKit(database=connect(SecretStr(url)).database("evoline_executor"), model=model, name=run_id)
    step = {"name": "talk", "type": "claude_session", "session": "ann", "prompt": prompt}
    await kit.notary.deploy(kit.guardrail, {"name": "chat", "steps": [step]})
    run = await kit.execute(ExecuteRun(run_id=run_id, pipeline="chat"))
    heard = [message.text for message in model.requests[-1].messages]
    print(json.dumps({"status": run.status, "said": run.outputs, "heard": heard, "calls": len(model.requests)}), flush=True)
    os._exit(0)  # as a killed process ends: nothing is said goodbye to

asyncio.run(main(*sys.argv[1:]))
"""


async def talk(mongo_url: str, run_id: str, prompt: str) -> dict[str, Any]:
    """One run of a process that lives no longer than it."""
    environment = {**os.environ, "PYTHONPATH": "."}
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-c", TALKER, mongo_url, run_id, prompt, stdout=PIPE, env=environment
    )
    said, _ = await process.communicate()
    answer: dict[str, Any] = json.loads(said)
    return answer


async def test_the_same_session_name_continues_the_same_transcript_from_another_process(mongo_url: str, store: MongoStore) -> None:
    first = await talk(mongo_url, "run-1", "My name is Ann")
    second = await talk(mongo_url, "run-2", "Who am I?")
    assert first == {"status": "succeeded", "said": "answer to: My name is Ann", "heard": ["My name is Ann"], "calls": 1}
    assert second["heard"] == ["My name is Ann", "answer to: My name is Ann", "Who am I?"]


async def test_two_processes_that_talk_at_once_leave_every_exchange_whole_and_in_turn(mongo_url: str, store: MongoStore) -> None:
    told = await asyncio.gather(*(talk(mongo_url, f"run-{n}", f"question {n}") for n in range(2)))
    assert [each["status"] for each in told] == ["succeeded", "succeeded"]
    (stored,) = await store.database("evoline_executor").collection("sessions").find({})
    texts = [message["text"] for message in json.loads(stored["messages"])]
    first, second = texts[0], texts[2]
    assert texts == [first, f"answer to: {first}", second, f"answer to: {second}"]
    assert {first, second} == {"question 0", "question 1"}
