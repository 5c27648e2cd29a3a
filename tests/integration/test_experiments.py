"""A/B experiments on real servers and services: the meta pipeline makes variants, the kernel compares, gate and rollout decide.

The model is the provider's own SDK against the stand-in, which is right on as many cases as a prompt's mark says."""

from __future__ import annotations

import asyncio
import json
import re
import uuid
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import pytest
from pydantic import SecretStr

from evoline.client.api import Client
from evoline.client.experiments import Experiments
from services.evolution.app import create_app as create_evolution
from services.executor.app import create_app as create_executor
from services.executor.settings import ExecutorSettings
from services.guardrail.app import create_app as create_guardrail
from services.guardrail.settings import GuardrailSettings
from services.learner.app import create_app as create_learner
from shared.events.changes import ChangeApproved, GetChange, ProposeChange
from shared.events.deployments import GetPipeline
from shared.events.experiments import ExperimentFinished, StartExperiment
from shared.events.gains import GetStrategies
from shared.events.quotas import ListReservations
from shared.events.rollouts import RolloutPlan, RolloutStep
from shared.events.runs import ExecuteRun
from shared.events.values import Case
from shared.messaging.bus import Bus
from shared.messaging.fleet import Fleet
from shared.storage.mongo import connect
from tests.conftest import OpenBus
from tests.eventually import eventually
from tests.fakes.guardrail import dataset
from tests.fakes.people import key_file, services_with_keys, signer
from tests.fakes.provider_standin import ProviderStandin, provider_standin
from tests.integration.commands import Command

__all__ = ["provider_standin"]
pytestmark = [pytest.mark.usefixtures("empty_streams"), pytest.mark.timeout(180)]
ROOT = Path(__file__).parents[2]
LABELS = ("bad", "good")
QUICK = RolloutPlan(steps=(RolloutStep(share=0.5, minutes=0, sample=3), RolloutStep(share=1.0, minutes=0, sample=0)), watch_runs=0)
MADE = {"a": "[40] Be quick. {{ text }}", "b": "[100] Read twice. {{ text }}", "c": "[50] Read once. {{ text }}"}


def pipeline(mark: str) -> dict[str, Any]:
    schema = {
        "type": "object",
        "properties": {"label": {"enum": list(LABELS)}},
        "required": ["label"],
        "additionalProperties": False,
    }
    step = {"name": "judge", "type": "claude", "prompt": f"{mark}\n\n{{{{ text }}}}\n", "schema": schema, "max_tokens": 24}
    return {
        "name": "mood",
        "domain": "support",
        "inputs": {"text": "string"},
        "limits": {"seconds": 30, "steps": 2, "calls": 2, "tokens": 4000},
        "steps": [step],
        "outputs": {"answer": "{{ steps.judge.result.label }}"},
    }


def model(messages: list[dict[str, str]], schema: dict[str, Any] | None) -> str | dict[str, Any]:
    """Judges, makes variants, and names `generated-a` as the winner of whatever was measured."""
    said = messages[-1]["text"]
    wanted = (schema or {}).get("properties", {})
    if "steps" in wanted:
        letter = re.findall(r"variant ([A-C])", said)[0].lower()
        return {"name": f"variant_{letter}", "steps": [{"name": "judge", "type": "claude", "prompt": MADE[letter]}]}
    if "winner" in wanted:
        return {"winner": "generated-a" if "generated-a" in said else "variant_a", "explanation": "It is the shortest."}
    mark, number, truth = (re.findall(pattern, said)[-1] for pattern in (r"\[(\d+)\]", r"number (\d+)", r"about (\w+)"))
    is_right = int(number) * 37 % 100 < int(mark)
    return {"label": truth if is_right else next(label for label in LABELS if label != truth)}


def labelled(dev: int = 20, sealed: int = 40) -> tuple[Case, ...]:
    rows = [("train", 4), ("dev", dev), ("sealed", sealed)]
    return tuple(
        Case.model_validate(
            {
                "id": f"{split}-{number}",
                "input": {"text": f"{split} number {number} about {LABELS[number % 2]} things"},
                "expected": LABELS[number % 2],
                "split": split,
            }
        )
        for split, many in rows
        for number in range(many)
    )


@pytest.fixture
async def alice(
    nats_url: str,
    mongo_url: str,
    tmp_path: Path,
    provider_standin: ProviderStandin,
    monkeypatch: pytest.MonkeyPatch,
    open_bus: OpenBus,
) -> AsyncIterator[Client]:
    """A client beside guardrail, executor and evolution, as their processes wire them; `mood` serves, right on half of them."""
    for name in ("ANTHROPIC_API_KEY", "GEMINI_API_KEY"):
        monkeypatch.delenv(name, raising=False)
    for name in ("EVOLINE_CLAUDE_BASE_URL", "EVOLINE_GEMINI_BASE_URL"):
        monkeypatch.setenv(name, provider_standin.url)
    provider_standin.answer = model
    store = connect(SecretStr(mongo_url))
    for name in ("guardrail", "sealed", "executor", "evolution", "learner"):
        await store.drop_database(f"evoline_{name}")
    store.close()
    keys, settings = services_with_keys(tmp_path / "keys", nats_url=nats_url, mongo_url=SecretStr(mongo_url), log_level="error")

    own = GuardrailSettings(private_key_file=keys.private, rollout_interval_seconds=0.2)
    apps = [
        create_guardrail(settings("guardrail"), own),
        create_executor(settings("executor"), ExecutorSettings(workspace_dir=tmp_path / "work")),
        create_evolution(settings("evolution")),
        create_learner(settings("learner")),
    ]
    key_file(tmp_path / "home" / "keys" / "identities", "alice")
    async with AsyncExitStack() as stack:
        for app in apps:
            await app.start()
            stack.push_async_callback(app.stop)
        client = Client((await open_bus("test")).signed_by(signer("alice")), author="alice")
        await client.register_dataset(dataset(labelled(), "moods"))
        await deployed(client.bus, pipeline("[50] Judge."))
        yield client


async def deployed(bus: Bus, document: dict[str, Any]) -> str:
    fields = {"kind": "revision", "pipeline": document["name"], "domain": document["domain"], "author": "alice"}
    change = ProposeChange.model_validate({"change_id": uuid.uuid4().hex, "document": document, **fields})
    async with bus.follow(ChangeApproved) as facts:
        await bus.publish(change, cause=change.change_id)
        async with asyncio.timeout(30):
            async for fact, _ in facts:
                if isinstance(fact, ChangeApproved):
                    return fact.digest
    raise AssertionError("approved or timed out")


async def test_variants_of_model_and_people_are_compared_and_the_better_one_is_certified_and_rolled_out(
    alice: Client, command: Command, tmp_path: Path
) -> None:
    (tmp_path / "careful.json").write_text(json.dumps(pipeline("[60] Judge with care.")))
    (tmp_path / "plan.json").write_text(QUICK.model_dump_json())
    files = (str(tmp_path / "careful.json"), "--generate", "--dataset-id", "moods")
    order = ("experiment", "start", "mood", *files, "--budget", "100")
    options = ("--rollout", str(tmp_path / "plan.json"), "--author", "alice", "--json")
    code, told, error = await command(*order, *options)
    assert (code, told["outcome"], told["winner"], error) == (0, "certified", "generated-b", "")
    verdicts = {each["label"]: each["verdict"] for each in told["variants"]}
    assert verdicts.keys() == {"stable", "careful", "generated-a", "generated-b", "generated-c"}
    assert verdicts["generated-b"] == "better" and told["cases"] == 20 and told["evaluations"] == 100
    assert told["model_winner"] == "generated-a" and "the statistics decide" in told["disagreement"]
    assert all(each["usage"]["tokens"] > 0 and each["usage"]["seconds"] > 0 for each in told["variants"])
    assert told["gain"] > 0.3 and told["rollout_id"] and not told["deployed"]
    experiments = Experiments(alice.bus)
    texts = [f"live number {number} about good days" for number in range(24)]
    orders = [ExecuteRun(run_id=f"live-{n}", pipeline="mood", inputs={"text": text}) for n, text in enumerate(texts)]
    await Fleet(alice.bus).run_all(orders, max_in_flight=8, deadline_seconds=60)

    async def rolled_out() -> bool:
        record = await experiments.get(told["experiment_id"])
        return bool(record["answer"]["outcome"] == "rolled_out")

    await eventually(rolled_out, 30)
    held = (await alice.ask(ListReservations()))["reservations"]
    assert "evolution" not in {each["holder"] for each in held}, "what the experiment held is free again"

    async def claimed() -> bool:
        return bool((await alice.ask(GetStrategies()))["claims"])

    await eventually(claimed, 30)
    code, kept, _ = await command("strategies", "--json")
    (claim,) = kept["claims"]
    assert (claim["strategy"], claim["operator"], claim["outcome"], claim["realised"]) == (
        "experiment",
        "generated",
        "no_data",
        None,
    )
    assert (claim["seen"], claim["claimed"]) == (told["gain"], told["claim"]) and told["claim"] <= told["gain"]
    code, again, _ = await command(*order, *options)
    assert (code, again["outcome"], again["deployed"]) == (0, "rolled_out", True)
    code, listed, _ = await command("experiment", "list", "--json")
    assert [(row["experiment_id"], row["winner"]) for row in listed["experiments"]] == [(told["experiment_id"], "generated-b")]


async def test_without_anything_better_nobody_wins_and_what_is_better_is_promoted_by_hand(
    alice: Client, command: Command, tmp_path: Path
) -> None:
    await _no_winner_is_declared(alice, command)
    await _the_document_by_itself_is_not_believed(alice)
    (tmp_path / "better.json").write_text(json.dumps(pipeline("[95] Judge twice.")))
    promote = ("promote", "mood", str(tmp_path / "better.json"), "--dataset-id", "moods", "--author", "alice", "--json")
    code, told, error = await command(*promote)
    assert (code, told["verdict"], told["gate"]["verdict"], error) == (0, "ChangeApproved", "certified", "")
    assert (await alice.ask(GetPipeline(pipeline="mood")))["stable"] == told["digest"]
    code, refused, _ = await command(*promote)
    assert code == 1 and "serves already" in refused["error"]["message"]


async def _no_winner_is_declared(alice: Client, command: Command) -> None:
    same = [{"label": label, "document": pipeline(f"[50] Judge {label}.")} for label in ("politely", "slowly")]
    order = StartExperiment.model_validate(
        {"experiment_id": "aa", "pipeline": "mood", "dataset_id": "moods", "variants": same, "evaluations": 60, "author": "alice"}
    )
    finished = await Experiments(alice.bus).start(order)
    assert isinstance(finished, ExperimentFinished)
    assert (finished.outcome, finished.winner, finished.change_id) == ("no_winner", "", "")
    code, shown, _ = await command("experiment", "show", "aa")
    assert code == 0 and "no variant was shown better" in shown
    few = StartExperiment.model_validate({**order.model_dump(), "experiment_id": "few", "evaluations": 44})
    refused = await Experiments(alice.bus).start(few)
    assert refused.outcome == "refused" and "allow at least 45" in refused.reasons[0]


async def _the_document_by_itself_is_not_believed(alice: Client) -> None:
    """Run like any pipeline it proposes what the model names, and the sealed gate judges it."""
    cases = [case.model_dump(mode="json", include={"id", "input", "expected"}) for case in labelled()[:4]]
    inputs = {"pipeline_under_test": pipeline("[50] Judge."), "test_dataset": cases, "dataset_id": "moods"}
    run = await alice.run("pipeline_ab_testing", inputs)
    assert (run.status, run.outputs["winner"], run.outputs["deployment"]["decision"]) == ("succeeded", "variant_a", "vetoed")
    change = await alice.ask(GetChange(change_id=run.outputs["deployment"]["change_id"]))
    assert (change["pipeline"], change["gate"]["verdict"]) == ("mood", "rejected")
