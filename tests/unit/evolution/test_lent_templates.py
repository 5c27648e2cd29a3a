"""Learned templates in searches: who is lent them, what is told of where steps came from, and what becomes of it when one is taken
back."""

from __future__ import annotations

import random
from typing import Any

import pytest

from services.evolution.adapters.descent import MongoDescent
from services.evolution.use_cases import forget, read_evolution, remember_template, start_evolution
from services.evolution.use_cases.descent import read_candidate, read_lineage
from services.evolution.use_cases.lending import MOST_TEMPLATES, lenders_of
from shared.events.changes import MOST_ORIGINS
from shared.events.improvement import EvolutionFinished, GetEvolution, StartEvolution
from shared.events.lineage import GetCandidate, GetLineage
from shared.pipeline.loading import load_document
from shared.search.candidates import Archive, Entry
from shared.search.menu import candidate_of
from shared.search.strategies.breeding import Breeding
from tests.fakes.evolution_world import World, donor_document, seed_document, small_world
from tests.fakes.learned_templates import MARK, learned, likes_the_template, template_document
from tests.unit.evolution.test_evolving import archive_digest, command, ended, proposed
from tests.unit.evolution.test_search_operators import CONTEXT, FROM_DONOR, FROM_TEMPLATE, mate, operator

TEMPLATE = learned().digest
FEW: dict[str, Any] = {"strategy": "climb", "evaluations": 300, "population": 12, "generations": 3}


async def lending_world(**runs: Any) -> World:
    """Where a pipeline that takes over the template's steps is far better."""
    world = small_world(quality=likes_the_template, **runs)
    await remember_template(learned(), world.evolution)
    return world


@pytest.mark.parametrize(("strategy", "seed"), [("climb", 4), ("genetic", 2), ("guided", 4)])
async def test_a_search_takes_over_a_learned_template_and_its_promotion_names_it(strategy: str, seed: int) -> None:
    """Seeds with which so few evaluations come to try it."""
    world = await lending_world()
    change = await proposed(world, **{**FEW, "strategy": strategy}, seed=seed)
    assert MARK in str(change.document) and change.origins == (TEMPLATE,)
    assert change.parent_digest == load_document(seed_document()).digest
    record = await read_evolution(GetEvolution(evolution_id="evo-1"), world.evolution)
    assert "lent" not in record
    marked = {row["digest"] for row in record["candidates"] if row.get("origins") == [TEMPLATE]}
    grafts = {row["digest"] for row in record["candidates"] if row["operator"] == "graft_template"}
    assert grafts <= marked and any("origins" not in row for row in record["candidates"])


async def test_whatever_is_made_of_what_took_steps_from_elsewhere_names_whom_too() -> None:
    world = await lending_world()
    await proposed(world, **FEW, seed=6)
    (told,) = (await read_lineage(GetLineage(candidates=500), MongoDescent(world.database)))["evolutions"]
    rows = {row["digest"]: row for row in told["candidates"]}
    heirs = [row for row in rows.values() if rows.get(row["parent"], {}).get("origins")]
    assert heirs and all(row["origins"] == [TEMPLATE] for row in heirs)
    for row in rows.values():
        one = await read_candidate(GetCandidate(digest=row["digest"]), MongoDescent(world.database))
        assert (MARK in str(one["document"])) <= (one["origins"] == [TEMPLATE])


async def test_only_templates_of_the_domain_that_were_not_taken_back_are_lent_the_best_first() -> None:
    world = small_world()
    told = [
        learned(template_document(f"Hint {number}.", f"classify_{number}"), low=number / 100)
        for number in range(MOST_TEMPLATES + 3)
    ]
    for fact in (*told, learned(domain="support")):
        await remember_template(fact, world.evolution)
    await forget([told[-1].digest], world.evolution)
    lent = await lenders_of(command(), "social", world.evolution)
    assert [each.digest for each in lent.templates] == [fact.digest for fact in reversed(told[2:-1])][:MOST_TEMPLATES]
    assert lent.donors == () and MOST_TEMPLATES + most_borrowed() <= MOST_ORIGINS


def most_borrowed() -> int:
    (bound,) = [each.max_length for each in StartEvolution.model_fields["borrow_from"].metadata if hasattr(each, "max_length")]
    return int(bound)


async def test_a_search_that_goes_on_after_a_crash_is_lent_what_it_was_lent_when_it_began() -> None:
    uninterrupted = await archive_digest(await lending_world(), **FEW, seed=4)
    world = await lending_world(crash_after=60)
    with pytest.raises(RuntimeError, match="killed"):
        await start_evolution(command(**FEW, seed=4), world.evolution)
    await forget([TEMPLATE], world.evolution)
    await remember_template(learned(template_document("Another hint.", "classify_other")), world.evolution)
    assert (
        await archive_digest(world, **FEW, seed=4)
        == uninterrupted
        != await archive_digest(small_world(quality=likes_the_template), **FEW, seed=4)
    )


async def test_a_search_that_an_earlier_version_began_is_lent_none() -> None:
    world = await lending_world()
    await world.evolution.evolutions.open({"_id": "evo-1", "scope": 1, "created_at": "2026-11-01T00:00:00+00:00"})
    assert (await lenders_of(command(), "social", world.evolution)).templates == ()


async def test_what_took_steps_from_a_template_that_was_taken_back_meanwhile_is_not_proposed() -> None:
    world = await lending_world(crash_after=60)
    with pytest.raises(RuntimeError, match="killed"):
        await start_evolution(command(**FEW, seed=4), world.evolution)
    await forget([TEMPLATE], world.evolution)
    answer = await ended(world, **FEW, seed=4)
    assert answer.verdict == "no_candidate"
    assert any(f"{TEMPLATE[:12]}, which was taken back meanwhile: none of them is proposed" in reason for reason in answer.reasons)


async def test_a_template_that_is_taken_back_while_finalists_are_confirmed_stops_the_promotion() -> None:
    world = await lending_world()
    tell = world.announcer.announce

    async def told(message: Any, *, cause: str, effect: str) -> None:
        if getattr(message, "stage", "") == "finalists":
            await forget([TEMPLATE], world.evolution)
        await tell(message, cause=cause, effect=effect)

    world.announcer.announce = told  # type: ignore[method-assign]
    answer = await ended(world, **FEW, seed=4)
    assert isinstance(answer, EvolutionFinished) and answer.verdict == "refused"
    assert f"{TEMPLATE[:12]}, which this search works with, was taken back" in str(answer.problems[0])


async def test_steps_of_a_borrowed_pipeline_are_told_as_an_origin() -> None:
    world = small_world(quality=lambda document: 0.9 if any(step.name == "think" for step in document.steps) else 0.4)
    world.custodian.documents["triage"] = donor_document()
    change = await proposed(world, borrow_from=("triage",), **FEW, seed=4)
    assert change.origins == (load_document(donor_document()).digest,)


def test_operators_that_take_over_steps_tell_from_whom_and_others_from_nobody() -> None:
    for name, origins in (("graft_template", (FROM_TEMPLATE,)), ("transfer", (FROM_DONOR,)), ("label_emphasis", ())):
        offers = [operator(name).apply(seed_document(), CONTEXT, random.Random(number)) for number in range(10)]
        assert {offer.origins for offer in offers if offer} == {origins}


async def test_a_crossing_and_what_mutates_it_have_the_origins_of_both_parents() -> None:
    class Marking:
        """Each child is the parent with another description."""

        operators = {"crossover": 1.0, "mark": 1.0}
        costly: frozenset[str] = frozenset()

        async def propose(self, operator: str, parent: Entry, mates: Any, generator: random.Random) -> Any:
            document = load_document(seed_document(description=f"{generator.random()}"))
            made = candidate_of(document, parent=parent.candidate.digest, operator=operator)
            return made.from_also(parent.candidate.origins, *(each.origins for each in mates))

    breeding = Breeding(Marking(), random.Random(1), crossover_rate=1.0, mutation_rate=0.9)
    mother, father = (Entry(mate(seed_document(description=origin), origin)) for origin in ("b", "a"))
    child = await breeding.offspring(mother, father)
    assert child is not None and child.operator == "crossover" and ";" in child.text
    assert child.origins == ("a", "b")


def test_the_digest_of_an_archive_changes_only_where_something_was_taken_over() -> None:
    plain, grafted = Archive(), Archive()
    one = candidate_of(load_document(seed_document()))
    plain.add(one).add(["c1"], [1.0])
    grafted.add(one.from_also([TEMPLATE])).add(["c1"], [1.0])
    assert plain.digest() == "0326e7de7736a82530111fed0a4c0bb0a204d56e719ed74b17278cc2c7540f81" != grafted.digest()
