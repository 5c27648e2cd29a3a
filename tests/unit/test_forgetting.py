"""What was taken back is dropped by everybody who learned or bred from it, in whatever order the facts come."""

from __future__ import annotations

from services.evolution.adapters.mongo import MongoEvaluationCache, MongoEvolutions
from services.generator.adapters.library import FileAndStoreLibrary
from services.generator.adapters.mongo import MongoLearnedTemplates
from services.generator.domain.templates import Template, learned_digest
from services.learner.adapters.mongo import MongoKnowledgeStore
from services.learner.domain.mining import ScoredRevision, mine
from shared.events.values import Score
from tests.fakes.storage import InMemoryDatabase

SCORE = Score(mean=0.8, low=0.7, high=0.9, cases=40, grader_hash="g")


def revision(digest: str, prompt: str = "Judge: {{ text }}", mean: float = 0.8) -> ScoredRevision:
    document = {"name": "p", "domain": "d", "steps": [{"name": "classify", "type": "claude", "prompt": prompt}]}
    return ScoredRevision(digest, "p", "d", "g1", document, SCORE.model_copy(update={"mean": mean}), {})


async def test_a_measurement_that_comes_after_the_quarantine_is_not_learned_from() -> None:
    store = MongoKnowledgeStore(InMemoryDatabase())
    await store.quarantine(["bad"])
    await store.add_revision(revision("bad"))
    await store.add_revision(revision("good"))
    assert [each.digest for each in await store.revisions(None)] == ["good"]


async def test_patterns_are_counted_anew_without_what_was_taken_back() -> None:
    store = MongoKnowledgeStore(InMemoryDatabase())
    reasoned = "Judge the text step by step. {{ text }}"
    found = [revision("a", mean=0.9), revision("b", reasoned, 0.2), revision("c", reasoned, 0.3)]
    for each in found:
        await store.add_revision(each)
    await store.save_patterns("l1", mine(found), "now")
    assert await store.patterns(10)
    await store.quarantine(["b"])
    await store.replace_patterns("q1", mine(await store.revisions(None)), "now")
    assert await store.patterns(10) == []


async def test_a_template_whose_source_was_taken_back_is_never_approved() -> None:
    store = MongoKnowledgeStore(InMemoryDatabase())
    record = {"name": "t", "source_digest": "bad", "status": "proposed"}
    await store.propose_template("c1", record)
    await store.quarantine(["bad"])
    assert not await store.approve_template("c1", "t" * 64)
    await store.propose_template("c2", record)
    assert not await store.approve_template("c2", "u" * 64)
    assert await store.templates(10) == []


async def test_a_template_that_was_itself_taken_back_is_never_approved() -> None:
    store = MongoKnowledgeStore(InMemoryDatabase())
    await store.propose_template("c1", {"name": "t", "source_digest": "fine", "status": "proposed"})
    await store.quarantine(["t" * 64])
    assert not await store.approve_template("c1", "t" * 64)
    assert await store.templates(10) == []


async def test_a_template_that_is_told_after_its_revocation_is_not_used() -> None:
    library = FileAndStoreLibrary([], MongoLearnedTemplates(InMemoryDatabase()))
    await library.revoke(["t" * 64])
    for _ in range(2):
        await library.learn(Template("classify_x", "learned:" + "t" * 64, {}), "t" * 64, "library")
    await library.learn(Template("classify_y", "learned:" + "u" * 64, {}), "u" * 64, "library")
    assert [template.name for template in await library.templates()] == ["classify_y"]


def test_a_pipeline_made_of_a_learned_template_descends_from_it() -> None:
    assert learned_digest("learned:" + "t" * 64) == "t" * 64
    assert learned_digest("library:classify_direct") is None


async def test_evaluations_of_what_was_taken_back_are_not_used_again() -> None:
    cache = MongoEvaluationCache(InMemoryDatabase())
    await cache.keep([{"_id": "k1", "digest": "bad"}, {"_id": "k2", "digest": "good"}])
    await cache.forget(["bad"])
    assert set(await cache.known(["k1", "k2"])) == {"k2"}


async def test_evolution_remembers_what_was_taken_back() -> None:
    evolutions = MongoEvolutions(InMemoryDatabase())
    await evolutions.quarantine(["bad", "worse"])
    await evolutions.quarantine(["bad"])
    assert await evolutions.quarantined(["bad", "good"]) == ["bad"]
