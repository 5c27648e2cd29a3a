"""The real gepa searches; we measure, count and certify."""

from __future__ import annotations

import importlib.util
from typing import Any

import pytest

from evoline import optimize
from shared.errors import InvalidInputError, UnavailableError
from shared.search.candidates import Candidate
from shared.search.genome import steps_of
from shared.search.strategies import STRATEGIES, GepaSearch
from shared.search.texts import Instructions, WholeDocument
from tests.fakes.evolution_world import seed_document
from tests.fakes.landscapes import GeneProposer, LandscapeArena, additive, candidate
from tests.fakes.planted_task import SEED, SPLITS, Evaluator, listing

PLANTED: dict[str, Any] = dict(SPLITS)
CASES = [f"case-{index}" for index in range(60)]


def test_what_gepa_finds_is_certified_like_any_other_and_counted_by_us() -> None:
    evaluate = Evaluator()
    outcome = optimize(SEED, evaluate, **PLANTED, budget=600, proposer=listing, strategy="gepa")
    assert outcome.verdict == "certified" and outcome.evidence.strategy == "gepa"
    assert evaluate.asked.total() == sum(outcome.evidence.spent.values()) <= 600
    assert outcome.evidence.spent["gate"] > 0
    found = {entry.candidate.digest for entry in outcome.archive.entries}
    assert all(entry.candidate.parent in found for entry in outcome.archive.entries[1:])


def test_gepas_own_reflection_model_writes_texts_and_is_told_what_went_wrong() -> None:
    prompts: list[str] = []

    def reflect(prompt: str) -> str:
        prompts.append(prompt)
        return "```\namber birch cedar delta\n```"

    strategy = GepaSearch(reflection_model=reflect)
    outcome = optimize(SEED, Evaluator(), **PLANTED, budget=600, strategy=strategy)
    assert "needs" in prompts[0]
    assert outcome.verdict == "certified" and "birch" in " ".join(outcome.best.values())
    written = [entry.candidate for entry in outcome.archive.entries if entry.candidate.operator == "gepa"]
    assert written and all(one.parent in outcome.archive for one in written)


def test_a_text_that_cannot_be_written_is_no_candidate_and_the_search_ends_as_any_other() -> None:
    """A model's answer that was cut in the middle of a character."""
    outcome = optimize(
        SEED, Evaluator(), **PLANTED, budget=300, strategy=GepaSearch(reflection_model=lambda prompt: "```\nbe brief \ud83d\n```")
    )
    assert outcome.verdict == "rejected" and any("nothing new" in reason for reason in outcome.evidence.reasons)


class Breaking(LandscapeArena):
    error: BaseException

    async def measure(self, *asked: Any) -> list[list[float | None]]:
        if self.spent > 40:
            raise self.error
        return await super().measure(*asked)


class Killed(BaseException):
    pass


@pytest.mark.parametrize("error", [UnavailableError("no executor"), Killed()], ids=["unavailable", "killed"])
async def test_what_stops_a_measurement_stops_gepa_and_is_not_swallowed(error: BaseException) -> None:
    landscape = additive()
    arena = Breaking(landscape, 500)
    arena.error = error
    with pytest.raises(type(error)):
        await GepaSearch().search(landscape.seed(), CASES, arena, GeneProposer(landscape), 1)


class Barren(GeneProposer):
    async def propose(self, *_: object) -> Candidate | None:
        return None


async def test_operators_that_offer_nothing_end_gepa_instead_of_looping() -> None:
    landscape = additive()
    found = await GepaSearch().search(landscape.seed(), CASES, LandscapeArena(landscape, 500), Barren(landscape), 1)
    assert len(found.archive) == 1 and found.ranking == () and "nothing new" in found.reasons[0]


def test_without_gepa_the_next_step_is_told_before_anything_is_evaluated(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    evaluate = Evaluator()
    with pytest.raises(InvalidInputError, match=r"pip install 'evoline\[gepa\]'"):
        optimize(SEED, evaluate, **PLANTED, budget=600, strategy="gepa")
    assert not evaluate.asked
    assert set(STRATEGIES) >= {"gepa", "climb", "genetic", "guided", "best_of"}


def test_a_pipeline_is_seen_as_its_instructions_and_written_texts_are_no_templates() -> None:
    view = Instructions(seed_document())
    texts = view.texts(seed_document())
    assert list(texts) == ["classify"] and texts["classify"].startswith("Decide how the writer feels.")
    changed = view.candidate({"classify": "Look at {{ mood }} and nothing else."}, "p", "gepa")
    assert changed is not None and "{{ '{' }}" in str(steps_of(changed.document)[0]["prompt"])
    assert view.candidate({"classify": " "}, "p", "gepa") is None
    same = view.candidate(texts, "p", "gepa")
    assert same is not None and same.document["steps"] == seed_document()["steps"]


def test_a_pipeline_as_one_text_comes_back_whole_and_garbage_does_not() -> None:
    view = WholeDocument()
    back = view.candidate(view.texts(seed_document()), "p", "gepa")
    assert back is not None and back.document["steps"] == seed_document()["steps"]
    for garbage in ("", "[]", "{}", '{"name": "x"}'):
        assert view.candidate({"document": garbage}, "p", "gepa") is None
    assert candidate((0,)).document == {"genes": [0]}
