"""Runs leave as files and come in elsewhere: whole, without secrets, inert."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest

from services.executor.use_cases import (
    cancel_run,
    export_run,
    finished_runs,
    fork_run,
    import_run,
    list_runs,
    pause_run,
    retry_run,
    transfer,
)
from shared.errors import InvalidInputError, LimitReachedError, NotAttestedError, NotFoundError, ProviderError
from shared.events.runs import CancelRun, ExecuteRun, FinishedRuns, ForkRun, ListRuns, PauseRun, RetryRun
from shared.events.transfer import ExportRun, ImportRun, RunImported
from tests.fakes.executor import ExecutorKit, Notary, new_id
from tests.fakes.language_model import ScriptedModel
from tests.fakes.lost_owner import Blocking, command, hung_run
from tests.fakes.two_stacks import DOCUMENT, LARGE, STEPS, described, elsewhere, exported, ran, taken_in

KEY = "sk-0123456789abcdef"


async def test_a_file_holds_the_whole_run_and_is_the_same_every_time() -> None:
    kit = await ran()
    file = await exported(kit)
    assert file == await exported(kit)
    assert (file["format"], file["version"], file["redacted"]) == ("evoline.run", 1, [])
    assert file["run"]["finished"]["outputs"] == {"said": LARGE}
    assert [entry["result"]["value"] for entry in file["journal"]] == ["yes", LARGE]
    assert file["document"]["steps"][0]["prompt"] == STEPS[0]["prompt"]
    assert file["attestation"]["digest"] == file["run"]["digest"]
    assert "signature" not in json.dumps(file)


async def test_an_imported_run_is_shown_as_it_was_and_says_that_it_is_imported() -> None:
    there = await ran()
    here = await elsewhere()
    fact = await taken_in(here, await exported(there), reason="a bug report")
    assert (fact.status, fact.lines, fact.author) == ("succeeded", 2, "bob")
    before, after = await described(there), await described(here)
    changed = {name for name in before | after if before.get(name) != after.get(name)}
    assert changed == {"controls", "imported"}
    assert [(each["verb"], each["author"], each["reason"]) for each in after["controls"]] == [("import", "bob", "a bug report")]
    assert after["imported"]["sha256"] == fact.sha256
    listed = (await list_runs(ListRuns(), here.runs))["runs"]
    assert [(each["run_id"], each["imported"]) for each in listed] == [("run-1", True)]
    assert (await list_runs(ListRuns(imported=False), here.runs))["runs"] == []


async def test_importing_is_told_to_nobody_who_counts_and_executes_nothing() -> None:
    here = await elsewhere()
    await taken_in(here, await exported(await ran()))
    assert here.announcer.facts == []
    assert isinstance(here.model, ScriptedModel)
    assert here.model.requests == []
    assert await finished_runs(FinishedRuns(run_ids=("run-1",)), here.runs) == {"runs": []}


async def test_importing_twice_is_harmless_also_at_the_same_time() -> None:
    file, here = await exported(await ran()), await elsewhere()
    first = await taken_in(here, file)
    again = await asyncio.gather(*(taken_in(here, file) for _ in range(5)))
    assert again == [first] * 5
    described_first = await described(here)
    assert len(described_first["controls"]) == 1
    assert len(described_first["steps"]) == 2


async def test_what_a_crash_left_out_is_made_up_for() -> None:
    file, here = await exported(await ran()), await elsewhere()
    append, left = here.journal.append, [1]

    async def crash(entry: Any) -> None:
        if left and entry.position == left[0]:
            left.pop()
            raise ConnectionError
        await append(entry)

    here.journal.append = crash  # type: ignore[method-assign]
    with pytest.raises(ConnectionError):
        await taken_in(here, file)
    await taken_in(here, file)
    assert len((await described(here))["steps"]) == 2


async def test_a_file_given_in_the_command_itself_is_imported_too() -> None:
    file, here = await exported(await ran(ScriptedModel(["short"]))), await elsewhere()
    ((_, fact),) = await import_run(ImportRun(run_id="run-1", file=file), here.executor)
    assert isinstance(fact, RunImported)
    assert fact.sha256 == file["sha256"]


async def test_an_id_that_another_run_has_is_not_taken() -> None:
    file = await exported(await ran())
    here = await ran(ScriptedModel(["other"]))
    before = await described(here)
    with pytest.raises(InvalidInputError, match=r"run\.run_id: run-1 is the id of another run"):
        await taken_in(here, file)
    assert await described(here) == before
    third = await elsewhere()
    await taken_in(third, file)
    with pytest.raises(InvalidInputError, match="imported from another file"):
        await taken_in(third, await exported(here))
    with pytest.raises(InvalidInputError, match=r"run\.run_id: is run-1, and not run-2"):
        await taken_in(third, file, run_id="run-2")


async def test_a_run_goes_back_where_it_came_from_only_as_itself() -> None:
    kit = await ran()
    with pytest.raises(InvalidInputError, match="is the id of another run"):
        await taken_in(kit, await exported(kit))


async def test_an_imported_run_can_neither_be_executed_nor_stopped() -> None:
    here = await elsewhere()
    await taken_in(here, await exported(await ran()))
    order = ExecuteRun(run_id="run-1", pipeline="asking", inputs={"topic": "rain"})
    with pytest.raises(InvalidInputError, match=r"cannot execute run run-1: it was imported.*fork or retry it"):
        await here.deliver(order)
    with pytest.raises(InvalidInputError, match="cannot cancel run run-1: it was imported"):
        await cancel_run(CancelRun(run_id="run-1"), new_id(), here.executor)
    with pytest.raises(InvalidInputError, match="cannot pause run run-1"):
        await pause_run(PauseRun(run_id="run-1"), new_id(), here.executor)
    assert here.announcer.facts == []


async def test_an_imported_run_ends_no_nested_run_and_is_nested_nowhere() -> None:
    file = await exported(await ran(parent_run_id="parent-1"))
    here = await elsewhere()
    await taken_in(here, file)
    assert await here.runs.nested_in("parent-1") == []
    assert await here.runs.finished(["run-1"]) == []


async def test_an_imported_run_is_forked_where_its_revision_is_approved() -> None:
    here = await elsewhere(model=ScriptedModel(["again"]))
    await taken_in(here, await exported(await ran()))
    fork = ForkRun(run_id="run-1", new_run_id="fork-1", from_step="two", inputs={"topic": "snow"})
    ((_, order),) = await fork_run(fork, here.executor)
    assert isinstance(order, ExecuteRun)
    run = await here.execute(order)
    assert (run.status, run.outputs, run.usage.calls) == ("succeeded", {"said": "again"}, 1)


async def test_a_fork_leaves_and_comes_in_like_any_other_run() -> None:
    there = await ran()
    ((_, order),) = await fork_run(ForkRun(run_id="run-1", new_run_id="fork-1", from_step="two"), there.executor)
    assert isinstance(order, ExecuteRun)
    await there.execute(order)
    here = await elsewhere()
    assert (await taken_in(here, await exported(there, "fork-1"), run_id="fork-1")).lines == 3
    shown = await described(here, "fork-1")
    assert ([step["position"] for step in shown["steps"]], shown["forked_from"]["run_id"]) == (["one", "two"], "run-1")


async def test_an_imported_run_is_retried_where_its_revision_is_approved_and_counts_what_was_done_here() -> None:
    there = await ran(ScriptedModel(["yes", ProviderError("server", "broken")]))
    here = await elsewhere(model=ScriptedModel(["at last"]))
    file = await exported(there)
    await taken_in(here, file)
    ((_, order),) = await retry_run(RetryRun(run_id="run-1", author="ann"), new_id(), here.executor)
    assert isinstance(order, ExecuteRun)
    run = await here.execute(order)
    assert (run.status, run.outputs) == ("succeeded", {"said": "at last"})
    assert ([step.name for step in run.steps], run.usage.calls, run.retries) == (["two"], 1, 1)
    assert len(here.ends()) == 1
    assert await here.runs.finished(["run-1"]) == [run]
    before = await described(here)
    await taken_in(here, file)
    assert await described(here) == before


@pytest.mark.parametrize("verb", ["fork", "retry"])
async def test_without_an_approval_here_nothing_goes_on(verb: str) -> None:
    there = await ran(ScriptedModel(["yes", ProviderError("server", "broken")]))
    unapproved, stranger = await elsewhere(approved=False), await elsewhere(approved=False)
    await Notary().deploy(stranger.guardrail, DOCUMENT)
    for here, error in ((unapproved, NotFoundError), (stranger, NotAttestedError)):
        await taken_in(here, await exported(there))
        with pytest.raises(error):
            if verb == "fork":
                await fork_run(ForkRun(run_id="run-1", new_run_id="fork-1", from_step="two"), here.executor)
            else:
                await retry_run(RetryRun(run_id="run-1"), new_id(), here.executor)
        assert (await described(here))["status"] == "failed"


async def test_a_trials_scope_does_not_travel() -> None:
    there = ExecutorKit(model=ScriptedModel(["yes", ProviderError("server", "broken")]))
    await there.trial(DOCUMENT, inputs={"topic": "rain"})
    file = await exported(there)
    assert file["attestation"]["kind"] == "scope"
    assert "scope" not in file["run"]["command"]
    here = await elsewhere(approved=False)
    await taken_in(here, file)
    with pytest.raises(NotAttestedError, match="runs under a scope"):
        await retry_run(RetryRun(run_id="run-1"), new_id(), here.executor)


async def test_secrets_stay_where_they_are() -> None:
    there = await ran(
        ScriptedModel([f"use {KEY}", ProviderError("server", f"bad key {KEY}")]),
        inputs={"topic": "rain", "login": {"password": "hunter2", "user": "ann"}, "notes": ["a", f"the key is {KEY}"]},
    )
    file = await exported(there)
    text = json.dumps(file)
    assert KEY not in text and "hunter2" not in text
    assert file["run"]["command"]["inputs"]["login"]["user"] == "ann"
    wanted = {"run.command.inputs.login.password", "run.command.inputs.notes[1]", "run.finished.error", "journal[0].result.value"}
    assert wanted <= set(file["redacted"])


async def test_what_was_left_out_must_be_given_again() -> None:
    there = await ran(ScriptedModel([f"use {KEY}", ProviderError("server", "x")]), inputs={"topic": f"of {KEY}"})
    here = await elsewhere(model=ScriptedModel(["yes"]))
    fact = await taken_in(here, await exported(there))
    assert "run.command.inputs.topic" in fact.redacted
    with pytest.raises(InvalidInputError, match="left a secret out of input topic"):
        await retry_run(RetryRun(run_id="run-1"), new_id(), here.executor)
    fork = {"run_id": "run-1", "new_run_id": "fork-1"}
    with pytest.raises(InvalidInputError, match="fork it with the input topic"):
        await fork_run(ForkRun(**fork, from_step="one"), here.executor)
    with pytest.raises(InvalidInputError, match=r"left a secret out of journal\[0\].*fork it from an earlier step"):
        await fork_run(ForkRun(**fork, from_step="two", inputs={"topic": "snow"}), here.executor)
    ((_, order),) = await fork_run(ForkRun(**fork, from_step="one", inputs={"topic": "snow"}), here.executor)
    assert isinstance(order, ExecuteRun)
    assert (await here.execute(order)).status == "succeeded"


async def test_a_document_that_holds_a_secret_is_left_out_whole() -> None:
    kit = ExecutorKit()
    document = {"name": "asking", "steps": [{**STEPS[0], "prompt": f"use {KEY}"}]}
    await kit.notary.deploy(kit.guardrail, document)
    await kit.execute(ExecuteRun(run_id="run-1", pipeline="asking"))
    file = await exported(kit)
    assert (file["document"], file["redacted"]) == (None, ["document"])
    await taken_in(await elsewhere(approved=False), file)


async def refusal(file: Any) -> str:
    with pytest.raises(InvalidInputError) as caught:
        await taken_in(await elsewhere(), file)
    return str(caught.value)


async def test_runs_that_never_started_and_runs_that_go_on_are_exported_and_only_ended_ones_imported() -> None:
    kit = ExecutorKit()
    await kit.execute(ExecuteRun(run_id="run-1", pipeline="unknown"))
    file = await exported(kit)
    assert (file["run"]["status"], file["document"], file["journal"]) == ("refused", None, [])
    await taken_in(await elsewhere(), file)
    hung = ExecutorKit(model=Blocking(free=1))
    task = await hung_run(hung, command(hung))
    assert "run.status: it is running (export the run again once it has ended)" in await refusal(await exported(hung))
    task.cancel()


async def test_an_unknown_run_and_one_too_large_for_a_file_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(transfer, "MAX_VALUE_BYTES", 1_000_000)
    kit = await ran(ScriptedModel([LARGE]))
    with pytest.raises(LimitReachedError, match="the values of run run-1 take"):
        await export_run(ExportRun(run_id="run-1"), kit.executor)
    with pytest.raises(NotFoundError, match="no run 'run-9'"):
        await export_run(ExportRun(run_id="run-9"), kit.executor)


async def test_an_imported_run_is_exported_as_it_came() -> None:
    file, here = await exported(await ran()), await elsewhere()
    await taken_in(here, file)
    again = await exported(here)
    assert again["journal"] == file["journal"]
    assert (again["run"]["finished"], again["document"]) == (file["run"]["finished"], file["document"])
    third = await elsewhere()
    await taken_in(third, again)
    assert [each["verb"] for each in (await described(third))["controls"]] == ["import", "import"]


async def test_a_redelivered_order_of_an_imported_run_is_refused_too() -> None:
    here = await elsewhere()
    await taken_in(here, await exported(await ran()))
    order = ExecuteRun(run_id="run-1", pipeline="asking", inputs={"topic": "rain"})
    with pytest.raises(InvalidInputError, match="imported"):
        await here.deliver(order, attempt=2)
