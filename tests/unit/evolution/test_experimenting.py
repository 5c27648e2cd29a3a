"""Experiments over the fake fleet, whose quality of every document is planted."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

import pytest

from evoline.client.experiments import told_end
from services.evolution.adapters.experiments import MongoExperiments
from services.evolution.use_cases.experiments import Laboratory, read_experiment, start_experiment
from shared.errors import InvalidInputError, NotFoundError
from shared.events.changes import GrantScope, ProposeChange
from shared.events.experiments import ExperimentFinished, ExperimentProgressed, GetExperiment, StartExperiment, Variant
from shared.events.improvement import PipelineScored
from shared.events.quotas import CloseScope
from shared.events.runs import ExecuteRun, RunFinished
from shared.events.values import GrantedScope
from shared.pipeline.document import Document
from shared.pipeline.loading import load_document
from tests.fakes.evolution_world import World, finished, labelled_cases, seed_document, small_world
from tests.fakes.storage import InMemoryDatabase


@dataclass
class KnownPromotions:
    """What a guardrail tells of its changes and rollouts."""

    changes: dict[str, dict[str, Any]] = field(default_factory=dict)
    rollouts: dict[str, str] = field(default_factory=dict)

    async def change(self, change_id: str) -> dict[str, Any]:
        return {"change_id": change_id, **self.changes.get(change_id, {})}

    async def change_of_rollout(self, rollout_id: str) -> str:
        if rollout_id not in self.rollouts:
            raise NotFoundError(f"no rollout {rollout_id!r}")
        return self.rollouts[rollout_id]


@dataclass
class Lab:
    world: World
    at: Laboratory
    promotions: KnownPromotions


def quality(document: Document) -> float:
    """Planted in the prompt: `[90]` is right on 90% of the cases."""
    text = document.steps[-1].prompt or ""
    return float(text.split("[")[1].split("]")[0]) / 100 if "[" in text else 0.5


def written(percent: int, words: str = "") -> dict[str, Any]:
    document = seed_document()
    document["steps"][0]["prompt"] = f"[{percent}] {words}\n\n{{{{ text }}}}\n"
    return document


def variant(label: str, percent: int, words: str = "") -> Variant:
    return Variant(label=label, document=written(percent, words))


def lab(**world: Any) -> Lab:
    made = small_world(**{"cases": labelled_cases(dev=120), "quality": quality, **world})
    promotions = KnownPromotions()
    return Lab(made, Laboratory(made.evolution, MongoExperiments(InMemoryDatabase()), promotions), promotions)


def command(*variants: Variant, **changes: Any) -> StartExperiment:
    fields = {"experiment_id": "exp-1", "pipeline": "tweets", "dataset_id": "tweets3", "variants": variants, "seed": 1}
    return StartExperiment.model_validate({**fields, **changes})


async def ended(on: Lab, order: StartExperiment) -> ExperimentFinished:
    ((effect, message),) = await start_experiment(order, on.at)
    assert effect == "finished" and isinstance(message, ExperimentFinished)
    return message


async def proposed(on: Lab, order: StartExperiment) -> ProposeChange:
    ((effect, message),) = await start_experiment(order, on.at)
    assert effect == "propose" and isinstance(message, ProposeChange)
    return message


async def test_the_best_of_the_better_variants_is_proposed_against_the_stable_revision() -> None:
    on = lab()
    change = await proposed(on, command(variant("fair", 75), variant("best", 95), variant("same", 50, "politely")))
    assert load_document(change.document).digest == load_document(written(95)).digest
    assert (change.kind, change.pipeline, change.dataset_id, change.group_id) == ("promotion", "tweets", "tweets3", "exp-1")
    assert change.parent_digest == load_document(seed_document()).digest
    (evidence,) = change.evidence
    assert evidence.score and evidence.baseline and evidence.score.mean > evidence.baseline.mean + 0.2
    record = await read_experiment(GetExperiment(experiment_id="exp-1"), on.at)
    assert (record["status"], record["change_id"]) == ("proposed", change.change_id)


async def test_all_meet_the_same_cases_and_the_budget_holds() -> None:
    on = lab()
    await start_experiment(command(variant("a", 60), variant("b", 70), evaluations=200), on.at)
    cases: dict[str, set[str]] = {}
    for run_id in on.world.runs.started:
        run = on.world.runs.ended[run_id]
        if run.purpose == "evaluation":
            cases.setdefault(run_id, set()).add(str(run.case_id))
    met = [run for run in on.world.runs.ended.values() if run.purpose == "evaluation"]
    assert len(met) == len(on.world.runs.started) - 1 == 198
    assert {sum(run.case_id == each for run in met) for each in {run.case_id for run in met}} == {3}


async def test_where_nothing_is_better_no_winner_is_named_and_nothing_is_proposed() -> None:
    on = lab(quality=lambda _: 1.0)
    answer = await ended(on, command(variant("a", 50), variant("b", 50, "please")))
    assert (answer.outcome, answer.winner, answer.change_id) == ("no_winner", "", "")
    assert [each.verdict for each in answer.variants] == ["baseline", "undecided", "undecided"]
    assert any("no variant was shown better" in reason for reason in answer.reasons)


async def test_an_undecided_variant_is_told_how_many_more_cases_would_show_its_gain() -> None:
    on = lab(cases=labelled_cases(dev=20))
    answer = await ended(on, command(variant("a", 62), seed=3))
    (_, report) = answer.variants
    assert answer.outcome == "no_winner" and report.gain is not None
    assert (report.more_cases_needed > 0) == (report.gain > 0)


def naming(winner: str) -> Any:
    """A model that names this one whatever was measured; other runs are answered as ever."""

    def answers(order: ExecuteRun, on: Lab) -> RunFinished:
        if order.purpose == "meta":
            return finished(order, "succeeded", {"winner": winner, "explanation": "Because it is shorter."})
        return on.world.runs._answer(order)

    return answers


async def explained(winner: str, *variants: Variant) -> tuple[ExperimentFinished | ProposeChange, dict[str, Any]]:
    on = lab()
    answers = naming(winner)
    on.world.runs.answers = lambda order: answers(order, on)
    ((_, message),) = await start_experiment(command(*variants), on.at)
    record = await on.at.experiments.get("exp-1")
    assert record is not None and isinstance(message, ExperimentFinished | ProposeChange)
    return message, record["answer"] or record["pending"]


async def test_a_model_that_names_another_winner_is_not_believed_and_that_is_told() -> None:
    message, answer = await explained("Bad!", variant("good", 95), variant("bad", 40))
    assert isinstance(message, ProposeChange)
    assert (answer["winner"], answer["model_winner"]) == ("good", "bad")
    assert "the statistics decide" in answer["disagreement"] and answer["disagreement"] in answer["reasons"]
    assert answer["explanation"] == "Because it is shorter."


async def test_a_model_that_agrees_or_names_nobody_disagrees_with_nobody() -> None:
    for winner in ("good", "somebody else"):
        _, answer = await explained(winner, variant("good", 95), variant("bad", 40))
        assert answer["disagreement"] == "" and answer["winner"] == "good"


async def test_a_model_cannot_make_a_winner_where_nothing_is_better() -> None:
    message, answer = await explained("a", variant("a", 50, "please"))
    assert isinstance(message, ExperimentFinished) and message.outcome == "no_winner"
    assert answer["model_winner"] == "a" and answer["disagreement"]


async def test_without_a_model_the_comparison_is_complete_without_words() -> None:
    on = lab()
    await proposed(on, command(variant("good", 95)))
    record = await on.at.experiments.get("exp-1")
    assert record is not None and record["pending"]["explanation"] == ""
    assert any("no model explained it" in reason for reason in record["pending"]["reasons"])


async def test_a_variant_that_never_answers_is_measured_no_further_and_told() -> None:
    on = lab()
    broken = load_document(written(1, "broken")).digest

    def answers(order: ExecuteRun) -> RunFinished:
        if order.document and order.purpose == "evaluation" and load_document(order.document).digest == broken:
            return finished(order, "failed", None, "the model said nothing")
        return on.world.runs._answer(order)

    on.world.runs.answers = answers
    await proposed(on, command(variant("good", 95), variant("broken", 1, "broken")))
    record = await on.at.experiments.get("exp-1")
    assert record is not None
    reports = {each["label"]: each for each in record["pending"]["variants"]}
    assert (reports["broken"]["verdict"], reports["broken"]["score"]["cases"]) == ("failing", 8)
    assert any("the model said nothing" in reason for reason in record["pending"]["reasons"])


async def test_an_experiment_whose_stable_revision_never_answers_is_refused() -> None:
    on = lab()
    on.world.runs.answers = lambda order: finished(order, "failed", None, "no provider")
    answer = await ended(on, command(variant("good", 95)))
    assert answer.outcome == "refused" and "no provider" in str(answer.problems[0])


@pytest.mark.parametrize("crash_after", [0, 1, 8, 24, 100, 241])
async def test_an_experiment_killed_anywhere_resumes_to_the_same_proposal_and_runs_nothing_twice(crash_after: int) -> None:
    order = command(variant("good", 95), variant("bad", 40), evaluations=240)
    whole = lab()
    uninterrupted = await proposed(whole, order)
    on = lab(crash_after=crash_after)
    if crash_after < 241:
        with pytest.raises(RuntimeError, match="killed"):
            await start_experiment(order, on.at)
    assert await proposed(on, order) == uninterrupted
    assert len(on.world.runs.started) == len(set(on.world.runs.started)) == len(whole.world.runs.started) == 241
    assert await proposed(on, order) == uninterrupted
    assert len(on.world.runs.started) == 241


async def test_the_scope_is_closed_and_scores_and_progress_are_told() -> None:
    on = lab()
    await proposed(on, command(variant("good", 95)))
    facts = on.world.announcer.facts.values()
    assert sum(isinstance(each, CloseScope) for each in facts) == 1
    assert sum(isinstance(each, PipelineScored) for each in facts) == 2
    stages = [each.stage for each in facts if isinstance(each, ExperimentProgressed)]
    assert stages[0] == "scope" and stages[-1] == "gate" and "measuring" in stages


@pytest.mark.parametrize(
    ("order", "reason"),
    [
        (command(), "compares nothing"),
        (command(variant("a", 60), evaluations=23), "allow at least 24"),
        (command(variant("a", 60), variant("b", 61), evaluations=44), "allow at least 45"),
        (command(Variant(label="same", document=seed_document())), "same is the same as the stable revision"),
        (command(variant("a", 60), variant("b", 60)), "b is the same as a"),
        (command(variant("a", 60), variant("a", 61)), "the label 'a' is taken"),
        (command(Variant(label="none", document={"name": "tweets", "steps": []})), "variants.none"),
        (command(Variant(label="odd", document=written(60) | {"domain": "finance"})), "is of domain 'finance'"),
        (command(variant("a", 60), pipeline="unknown"), "unknown"),
        (command(variant("a", 60), dataset_id="unknown"), "unknown"),
    ],
)
async def test_what_cannot_be_compared_is_refused_before_anything_is_run(order: StartExperiment, reason: str) -> None:
    on = lab()
    answer = await ended(on, order)
    assert answer.outcome == "refused" and reason in " ".join(answer.reasons)
    assert on.world.runs.started == []


@pytest.mark.parametrize(
    ("cases", "reason"),
    [
        (labelled_cases(dev=11), "register at least 12 dev cases"),
        ((), "register at least 12 dev cases"),
        (tuple(case.model_copy(update={"expected": None}) for case in labelled_cases()), "have no label"),
        (tuple(case.model_copy(update={"expected": "neutral"}) for case in labelled_cases()), "the same label"),
    ],
)
async def test_a_dataset_on_which_nothing_can_be_decided_is_refused(cases: Any, reason: str) -> None:
    on = lab(cases=cases)
    answer = await ended(on, command(variant("a", 60)))
    assert answer.outcome == "refused" and reason in " ".join(answer.reasons)


async def test_the_same_id_with_another_content_is_refused() -> None:
    on = lab()
    await start_experiment(command(variant("a", 95)), on.at)
    with pytest.raises(InvalidInputError, match="another experiment"):
        await start_experiment(command(variant("a", 90)), on.at)


async def test_a_refused_experiment_may_be_ordered_again_once_what_was_wrong_is_mended() -> None:
    on = lab()
    data = on.world.custodian.data.pop("tweets3")
    refused = await ended(on, command(variant("good", 95)))
    assert refused.outcome == "refused" and "tweets3" in refused.reasons[0]
    on.world.custodian.data["tweets3"] = data
    on.world.clock.moment += timedelta(days=1)
    assert (await proposed(on, command(variant("good", 95)))).pipeline == "tweets"
    closed = {each.scope_id for each in on.world.announcer.facts.values() if isinstance(each, CloseScope)}
    assert len(closed) == 1, "the attempt that was refused never asked for a scope"


@pytest.mark.parametrize("order", [command(variant("good", 95)), command(variant("same", 50, "please"))])
async def test_a_scope_that_a_crash_kept_open_is_closed_when_the_order_comes_again(order: StartExperiment) -> None:
    on = lab()
    await start_experiment(order, on.at)
    closing = [key for key, fact in on.world.announcer.facts.items() if isinstance(fact, CloseScope)]
    for key in closing:
        del on.world.announcer.facts[key]  # killed after the outcome was kept, before this was sent
    await start_experiment(order, on.at)
    assert closing and [key for key, fact in on.world.announcer.facts.items() if isinstance(fact, CloseScope)] == closing


async def test_an_order_that_comes_twice_at_once_is_one_experiment() -> None:
    """Else the one that ends first would close the scope under the other one's runs."""
    on = lab()
    queries: list[GrantScope] = []
    grant = on.world.custodian.grant_scope

    async def counted(query: GrantScope) -> GrantedScope:
        queries.append(query)
        return await grant(query)

    on.world.custodian.grant_scope = counted  # type: ignore[method-assign]
    order = command(variant("good", 95))
    first, second = await asyncio.gather(start_experiment(order, on.at), start_experiment(order, on.at))
    assert first == second and len(queries) == 1


async def test_who_orders_again_is_not_told_the_refusal_of_the_time_before() -> None:
    on = lab()
    data = on.world.custodian.data.pop("tweets3")
    await start_experiment(command(variant("good", 95)), on.at)
    record = await read_experiment(GetExperiment(experiment_id="exp-1"), on.at)
    assert told_end(record, 0) is not None, "who ordered it hears of its refusal"
    assert told_end(record, record["attempt"]) is None, "the order that mends it is still waiting for its turn"
    await start_experiment(command(variant("good", 95)), on.at)
    again = await read_experiment(GetExperiment(experiment_id="exp-1"), on.at)
    assert told_end(again, record["attempt"]) is not None, "it was refused again"
    on.world.custodian.data["tweets3"] = data
    await start_experiment(command(variant("good", 95)), on.at)
    assert told_end(await read_experiment(GetExperiment(experiment_id="exp-1"), on.at), again["attempt"]) is None


async def test_a_revision_that_is_taken_back_meanwhile_ends_the_experiment() -> None:
    on = lab()
    await on.world.evolution.evolutions.quarantine([load_document(seed_document()).digest])
    answer = await ended(on, command(variant("a", 95)))
    assert answer.outcome == "refused" and "taken back" in answer.reasons[0]
