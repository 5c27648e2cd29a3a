"""A run that rests on answers from a cassette says so, whatever became of the step that was given them."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from services.executor.use_cases import retry_run
from shared.errors import ProviderRefusedError
from shared.events.runs import ExecuteRun, RetryRun
from shared.pipeline.completion import CompletionRequest
from tests.fakes.executor import ExecutorKit, new_id
from tests.fakes.language_model import Reply, ScriptedModel
from tests.fakes.lost_owner import second

ASK = {"name": "ask", "type": "claude", "prompt": "?", "context": "none"}


def replaying(kit: ExecutorKit) -> ExecutorKit:
    kit.executor = replace(kit.executor, services=replace(kit.executor.services, replays=True))
    return kit


async def test_a_run_whose_replayed_step_failed_and_was_replaced_is_replayed() -> None:
    instead = {"name": "instead", "type": "set_variable", "variable": "v", "value": 1}
    kit = replaying(ExecutorKit(model=ScriptedModel([ProviderRefusedError("no")])))
    run = await kit.trial({"name": "asking", "steps": [{**ASK, "on_error": {"fallback": instead}}]})
    assert (run.status, run.replayed) == ("degraded", True)


async def test_a_run_that_is_retried_with_a_provider_still_rests_on_what_was_replayed() -> None:
    def script(request: CompletionRequest) -> Reply:
        return ProviderRefusedError("not recorded") if request.messages[-1].text.endswith("more?") else "replayed"

    document: dict[str, Any] = {"name": "asking", "steps": [ASK, {**ASK, "name": "more", "prompt": "more?"}]}
    kit = replaying(ExecutorKit(model=ScriptedModel(script)))
    assert (await kit.trial(document)).replayed
    ((_, order),) = await retry_run(RetryRun(run_id="run-1"), new_id(), kit.executor)
    assert isinstance(order, ExecuteRun)
    run = await second(kit, ScriptedModel()).execute(order)
    assert (run.status, run.replayed, len(run.steps), run.steps_executed) == ("succeeded", True, 1, 1)
