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
    """Two that talk at once leave every exchange whole and in turn, and a third one, after both are gone, hears all of it."""
    told = await asyncio.gather(*(talk(mongo_url, f"run-{n}", f"question {n}") for n in range(2)))
    assert [each["status"] for each in told] == ["succeeded", "succeeded"]
    third = await talk(mongo_url, "run-3", "What did I ask?")
    assert (third["status"], third["said"], third["calls"]) == ("succeeded", "answer to: What did I ask?", 1)
    first, second = third["heard"][0], third["heard"][2]
    assert third["heard"] == [first, f"answer to: {first}", second, f"answer to: {second}", "What did I ask?"]
    assert {first, second} == {"question 0", "question 1"}
    (stored,) = await store.database("evoline_executor").collection("sessions").find({})
    assert len(json.loads(stored["messages"])) == 6
