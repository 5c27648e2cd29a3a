from __future__ import annotations

from typing import Any

from services.learner.adapters.mongo import MongoKnowledgeStore
from services.learner.domain.mining import ScoredRevision, mine
from services.learner.domain.synthesis import generalise, signature
from services.learner.use_cases import Learner, adopt_template, forget, learn_from_runs, remember_run, remember_score
from shared.clock import SystemClock
from shared.events.changes import ChangeApproved, ProposeChange
from shared.events.improvement import LearnFromRuns, PatternsMined, PipelineScored, TemplateLearned
from shared.events.runs import RunFinished
from shared.events.values import Attestation, Score
from shared.pipeline.loading import load_document
from tests.fakes.storage import InMemoryDatabase

LABELS = ["good", "bad"]
PARAMETERS = {"instruction": "Judge the text.", "item": "{{ text }}", "labels": LABELS, "labels_text": "good, bad"}
SCHEMA = {"type": "object", "properties": {"label": {"enum": LABELS}}, "required": ["label"]}


def document(prompt: str) -> dict[str, Any]:
    return {
        "name": "p",
        "domain": "reviews",
        "steps": [{"name": "classify", "type": "claude", "prompt": prompt, "schema": SCHEMA}],
        "outputs": {"answer": "{{ steps.classify.result.label }}"},
    }


def revision(digest: str, mean: float, prompt: str, group: str = "g1", cases: int = 40) -> ScoredRevision:
    score = Score(mean=mean, low=max(0.0, mean - 0.1), high=min(1.0, mean + 0.1), cases=cases, grader_hash="g")
    return ScoredRevision(digest, "p", "reviews", group, document(prompt), score, PARAMETERS)


PLAIN = "Judge the text.\nOne of: good, bad\n\n{{ text }}"
REASONED = "Judge the text step by step.\n\n{{ text }}"


def test_lift_is_the_difference_within_a_group() -> None:
    mined = mine([revision("a", 0.8, PLAIN), revision("b", 0.4, REASONED), revision("c", 0.6, REASONED)])
    reasoning = next(pattern for pattern in mined if pattern.text == "asks for reasoning first")
    assert abs(reasoning.lift - (0.5 - 0.8)) < 1e-9
    assert (reasoning.support, reasoning.provenance) == (2, ("b", "c"))


def test_scores_of_different_tasks_are_never_compared() -> None:
    mined = mine([revision("a", 0.9, PLAIN, "easy"), revision("b", 0.1, REASONED, "hard"), revision("c", 0.2, REASONED, "hard")])
    assert mined == ()


def test_a_feature_that_everything_shares_is_no_pattern() -> None:
    mined = mine([revision("a", 0.8, PLAIN), revision("b", 0.4, REASONED), revision("c", 0.6, REASONED)])
    assert "answer constrained by a schema" not in {pattern.text for pattern in mined}


def test_a_generalised_revision_is_a_valid_document_without_the_tasks_texts() -> None:
    blanked = generalise(document(PLAIN), PARAMETERS)
    assert blanked is not None
    assert blanked["steps"][0]["prompt"] == "[[ instruction ]]\nOne of: [[ labels_text ]]\n\n[[ item ]]"
    assert blanked["steps"][0]["schema"]["properties"]["label"]["enum"] == ["[[ labels ]]"]
    assert load_document(blanked)


def test_a_revision_that_holds_its_tasks_examples_gives_no_template() -> None:
    assert generalise(document("Judge the text.\n\nnice one\nLabel: good\n\n{{ text }}"), PARAMETERS) is None


class Seeds:
    def __init__(self, *documents: dict[str, Any]) -> None:
        self._documents = documents

    def documents(self) -> tuple[dict[str, Any], ...]:
        return self._documents


async def learner_with(*revisions: ScoredRevision, seeds: Seeds | None = None) -> Learner:
    at = Learner(MongoKnowledgeStore(InMemoryDatabase()), seeds or Seeds(), SystemClock())
    for one in revisions:
        fact = PipelineScored(
            pipeline=one.pipeline,
            digest=one.digest,
            domain=one.domain,
            purpose="trial",
            score=one.score,
            document=dict(one.document),
            group_id=one.group,
            parameters=dict(one.parameters),
        )
        await remember_score(fact, at)
    return at


async def test_a_replayed_run_is_not_counted() -> None:
    at = await learner_with()
    for run_id, replayed in (("a", False), ("b", True)):
        told = {"run_id": run_id, "pipeline": "p", "digest": "d", "domain": "reviews", "purpose": "production"}
        await remember_run(RunFinished.model_validate({**told, "status": "succeeded", "replayed": replayed}), at)
    assert await at.store.runs() == 1


async def learned(at: Learner, learning_id: str = "l1") -> tuple[PatternsMined, ProposeChange | None]:
    effects = [message for _, message in await learn_from_runs(LearnFromRuns(learning_id=learning_id), at)]
    mined = next(message for message in effects if isinstance(message, PatternsMined))
    return mined, next((message for message in effects if isinstance(message, ProposeChange)), None)


async def test_the_best_revision_becomes_a_proposed_template() -> None:
    at = await learner_with(revision("a", 0.8, PLAIN), revision("b", 0.4, REASONED))
    mined, proposal = await learned(at)
    assert proposal is not None
    assert (proposal.kind, proposal.parent_digest, mined.template_change_id) == ("template", "a", proposal.change_id)


async def test_a_known_template_is_not_learned_again() -> None:
    known = generalise(document(PLAIN), PARAMETERS)
    assert known is not None
    mined, proposal = await learned(await learner_with(revision("a", 0.8, PLAIN), seeds=Seeds(known)))
    assert proposal is None
    assert "known template" in mined.reasons[0]


async def test_a_quarantined_revision_is_not_learned_from() -> None:
    at = await learner_with(revision("a", 0.8, PLAIN))
    await forget(["a"], at)
    mined, proposal = await learned(at)
    assert (mined.revisions, proposal) == (0, None)


async def test_an_approved_template_is_announced_once_and_only_if_it_is_ours() -> None:
    at = await learner_with(revision("a", 0.8, PLAIN))
    _, proposal = await learned(at)
    assert proposal is not None
    attestation = Attestation(
        kind="template",
        digest="e" * 64,
        scope=proposal.pipeline,
        domain="library",
        policy_revision="1",
        issued_at="2026-01-01T00:00:00Z",
        expires_at="2027-01-01T00:00:00Z",
        key_id="k",
    )
    approved = ChangeApproved(
        change_id=proposal.change_id,
        kind="template",
        pipeline=proposal.pipeline,
        digest="e" * 64,
        document=proposal.document,
        domain="library",
        author="learner",
        approved_by="policy:x",
        risk=0.1,
        reasons=(),
        policy_revision="1",
        attestation=attestation,
    )
    (effect,) = await adopt_template(approved, at)
    assert isinstance(effect[1], TemplateLearned)
    assert await adopt_template(approved.model_copy(update={"change_id": "other"}), at) == []


def test_names_and_spaces_do_not_make_another_template() -> None:
    assert signature({**document(PLAIN), "name": "q"}) == signature({**document(PLAIN.replace("\n\n", "\n \n")), "name": "p"})
