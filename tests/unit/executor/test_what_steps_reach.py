"""Functions, conversations, proposals, kept answers: what steps reach outside their run."""

from __future__ import annotations

from typing import Any

import pytest

from services.executor.adapters.mongo_values import MongoConversations
from services.executor.domain.degradation import degraded_pipelines
from services.executor.engine.functions import FunctionDesk
from services.executor.ports import Allowance
from shared.clock import SystemClock
from shared.errors import FencedError, InvalidInputError, NotFoundError, UnavailableError
from shared.events.deployments import GetPipeline, ListPipelines
from shared.events.generation import ListRequests
from shared.events.improvement import GetEvolution, GetKnowledge, GetReport
from shared.events.runs import ListRuns
from shared.pipeline.completion import ChatMessage
from tests.fakes.executor import ExecutorKit, InProcessComputations, ScriptedQuestions
from tests.fakes.language_model import ScriptedModel
from tests.fakes.storage import InMemoryDatabase

REPORT_ROW = {
    "pipeline": "triage",
    "digest": "d1",
    "purpose": "production",
    "runs": 40,
    "success_rate": 0.9,
    "error_rate": 0.1,
    "degraded_rate": 0.0,
    "latency_p50_seconds": 1.0,
    "latency_p95_seconds": 2.0,
    "input_tokens": 100,
    "output_tokens": 50,
    "calls": 40,
    "cost_usd": 0.0,
    "quality": {"mean": 0.8},
}


def desk(answers: dict[Any, Any]) -> tuple[FunctionDesk, ScriptedQuestions]:
    questions = ScriptedQuestions(answers)
    return FunctionDesk(questions, InProcessComputations()), questions


async def test_pure_functions_are_computed_without_asking_anybody() -> None:
    functions, questions = desk({})
    assert (await functions.call("vote", {"values": ["a", "b", "a"]}, Allowance()))["winner"] == "a"
    assert questions.asked == []


async def test_a_function_may_use_what_the_document_and_whoever_orders_the_run_allow() -> None:
    computations = InProcessComputations()
    kit = ExecutorKit(computations=computations)
    step = {"name": "count", "type": "function", "function": "arithmetic", "arguments": {"expression": "1+1"}}
    document = {"name": "sums", "steps": [step], "limits": {"cpu_seconds": 3, "memory_mb": 100}}
    run = await kit.trial(document, limits={"memory_mb": 64})
    assert run.outputs == 2
    assert computations.allowances == [Allowance(cpu_seconds=3, memory_mb=64)]


async def test_unknown_functions_and_wrong_arguments_are_errors() -> None:
    functions, _ = desk({})
    with pytest.raises(NotFoundError, match="aggregate_metrics"):
        await functions.call("agregate_metrics", {}, Allowance())
    with pytest.raises(InvalidInputError):
        await functions.call("recent_runs", {"limit": 0}, Allowance())
    assert functions.spec("recent_runs").parameters["type"] == "object"


async def test_metrics_are_cut_to_what_was_asked() -> None:
    functions, questions = desk({GetReport: {"pipelines": [REPORT_ROW]}})
    answer = await functions.call(
        "aggregate_metrics", {"metrics_types": ["latency"], "pipeline": "triage", "limit": 3}, Allowance()
    )
    assert answer["pipelines"][0]["latency_p95_seconds"] == 2.0
    assert "cost_usd" not in answer["pipelines"][0]
    assert questions.asked == [GetReport(pipeline="triage", limit=3)]
    everything = await functions.call("aggregate_metrics", {}, Allowance())
    assert set(everything["pipelines"][0]) == set(REPORT_ROW)


async def test_a_service_that_answers_is_healthy_whatever_it_says() -> None:
    functions, _ = desk({GetEvolution: NotFoundError("no such evolution"), ListRequests: UnavailableError("nobody answers")})
    health = {each["component"]: each for each in (await functions.call("check_component_health", {}, Allowance()))["components"]}
    assert health["evolution"]["healthy"]
    assert not health["generator"]["healthy"]
    assert "nobody answers" in health["generator"]["detail"]
    only = await functions.call("check_component_health", {"component": "learner"}, Allowance())
    assert [each["component"] for each in only["components"]] == ["learner"]


async def test_successful_pipelines_come_best_first_with_their_documents() -> None:
    deployed = [
        {"name": "unmeasured", "domain": "support", "stable": "d0"},
        {"name": "triage", "domain": "support", "stable": "d1"},
        {"name": "elsewhere", "domain": "finance", "stable": "d2"},
    ]
    answers = {
        ListPipelines: {"pipelines": deployed},
        GetReport: {"pipelines": [REPORT_ROW]},
        GetPipeline: {"document": {"name": "x"}},
    }
    functions, _ = desk(answers)
    found = (await functions.call("successful_pipelines", {"domain": "support"}, Allowance()))["pipelines"]
    assert [(row["name"], row["success_rate"], row["quality"]) for row in found] == [
        ("triage", 0.9, 0.8),
        ("unmeasured", None, None),
    ]
    assert found[0]["document"] == {"name": "x"}


async def test_other_stores_are_asked_with_the_given_bounds() -> None:
    functions, questions = desk(
        {GetKnowledge: {"patterns": [1], "templates": [2]}, ListRuns: {"runs": []}, GetPipeline: {"name": "p"}}
    )
    assert await functions.call("mine_patterns", {"domain": "support"}, Allowance()) == {"patterns": [1]}
    assert await functions.call("recent_runs", {"status": "failed", "limit": 5}, Allowance()) == {"runs": []}
    assert await functions.call("get_pipeline", {"pipeline": "p@stable"}, Allowance()) == {"name": "p"}
    assert questions.asked[1] == ListRuns(status="failed", imported=False, limit=5)


def runs(pipeline: str, newer: list[str], older: list[str], seconds: tuple[float, float] = (1.0, 1.0)) -> list[dict[str, Any]]:
    rows = [(status, seconds[0]) for status in newer] + [(status, seconds[1]) for status in older]
    return [{"pipeline": pipeline, "status": status, "latency_seconds": latency} for status, latency in rows]


def test_degradation_names_what_got_worse_and_nothing_else() -> None:
    ok = ["succeeded"] * 5
    history = [
        *runs("steady", ok, ok),
        *runs("failing", ["failed"] * 3 + ["succeeded"] * 2, ok),
        *runs("slow", ok, ok, seconds=(2.0, 1.0)),
        *runs("better", ok, ["failed"] * 5),
        *runs("young", ["failed"] * 4, ["succeeded"] * 4),
    ]
    assert {each["pipeline"]: each["reasons"] for each in degraded_pipelines(history)} == {
        "failing": ["success_rate"],
        "slow": ["latency"],
    }


async def test_degradation_is_read_from_the_list_of_runs() -> None:
    rows = runs("failing", ["failed"] * 5, ["succeeded"] * 5)
    functions, _ = desk({ListRuns: {"runs": rows}})
    assert [each["pipeline"] for each in (await functions.call("detect_degradation", {}, Allowance()))["degraded"]] == ["failing"]


async def test_a_conversation_goes_on_across_executors() -> None:
    document = {"name": "chat", "steps": [{"name": "talk", "type": "claude_session", "prompt": "{{ line }}"}]}
    first = ExecutorKit(model=ScriptedModel(["hello"]))
    await first.notary.deploy(first.guardrail, document)
    from shared.events.runs import ExecuteRun

    await first.execute(ExecuteRun(run_id="r1", pipeline="chat", inputs={"line": "hi"}))
    model = ScriptedModel(["again"])
    second = ExecutorKit(database=first.database, guardrail=first.guardrail, notary=first.notary, model=model)
    await second.execute(ExecuteRun(run_id="r2", pipeline="chat", inputs={"line": "still there?"}))
    assert [message.role for message in model.requests[0].messages] == ["user", "assistant", "user"]
    assert model.requests[0].messages[1].text == "hello"


async def test_of_two_writers_of_a_conversation_one_is_fenced() -> None:
    conversations = MongoConversations(InMemoryDatabase(), SystemClock())
    empty = await conversations.load("a/b")
    assert (empty.version, empty.messages) == (0, ())
    line = empty.model_copy(update={"messages": (ChatMessage(role="user", text="hi"),), "summary": "s", "last_exchange": "x"})
    saved = await conversations.save(line)
    assert saved == await conversations.load("a/b")
    with pytest.raises(FencedError):
        await conversations.save(line)
    await conversations.save(saved)
    with pytest.raises(FencedError):
        await conversations.save(saved)


async def test_a_proposal_carries_the_runs_identity_and_its_verdict_is_the_steps_value() -> None:
    proposed = {"name": "better", "steps": [{"name": "s", "type": "set_variable", "variable": "v", "value": 1}]}
    config = {"pipeline": "{{ candidate }}", "deployment_strategy": "immediate", "wait": 1}
    document = {"name": "deploying", "steps": [{"name": "deploy", "type": "pipeline_deployer", "config": config}]}
    kit = ExecutorKit()
    kit.proposals.decision = "vetoed"
    run = await kit.trial(document, inputs={"candidate": proposed})
    assert run.outputs["decision"] == "vetoed"
    (change,) = kit.proposals.changes
    assert (change.kind, change.pipeline, change.author, change.group_id) == ("revision", "better", "pipeline:deploying", "run-1")
    again = ExecutorKit()
    await again.trial(document, inputs={"candidate": proposed})
    assert again.proposals.changes[0].change_id == change.change_id


async def test_claude_robust_falls_back_on_an_answer_that_another_run_got() -> None:
    from shared.errors import ProviderError

    step = {"name": "ask", "type": "claude_robust", "prompt": "Hi?", "fallbacks": ["cache"], "retry": {"max_attempts": 1}}
    kit = ExecutorKit(model=ScriptedModel(["first answer", ProviderError("server", "down")]))
    document = {"name": "robust", "steps": [step]}
    good = await kit.trial(document, run_id="r1")
    fallen = await kit.trial(document, run_id="r2")
    assert (good.status, good.outputs) == ("succeeded", "first answer")
    assert (fallen.status, fallen.outputs) == ("degraded", "first answer")
