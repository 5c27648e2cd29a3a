from __future__ import annotations

from collections.abc import Mapping

import pytest

from shared.errors import InvalidInputError
from shared.search.candidates import Archive, Candidate, Entry, SearchResult
from shared.search.niches import niche_of, octave, structure_of
from shared.search.objectives import Weights, objectives_of, scale_of, weighted_value
from shared.search.trade_offs import MOST_MEMBERS, finalists_of, trade_offs_of
from tests.fakes.evolution_world import seed_document

CASES = [f"case-{index}" for index in range(40)]


def entry(name: str, right: int, use: Mapping[str, float] | None = None, cases: int = 40) -> Entry:
    one = Entry(Candidate(name, {"prompt": name}, "seed", "frame_text", f"made {name}"))
    one.add(CASES[:cases], [1.0] * right + [0.0] * (cases - right))
    one.uses = dict.fromkeys(CASES[:cases], use) if use else {}
    return one


def archive_of(*entries: Entry) -> Archive:
    archive = Archive()
    for one in entries:
        added = archive.add(one.candidate)
        added.grades, added.uses, added.faulted = one.grades, one.uses, one.faulted
    return archive


def names(archive: Archive) -> list[str]:
    return [member.digest for member in trade_offs_of(archive).front]


def test_what_is_worse_in_everything_is_not_on_the_front_and_what_is_cheaper_is() -> None:
    found = trade_offs_of(
        archive_of(
            entry("seed", 20, {"tokens": 100, "seconds": 1.0}),
            entry("dear", 30, {"tokens": 400, "seconds": 2.0}),
            entry("cheap", 22, {"tokens": 50, "seconds": 1.0}),
            entry("bad", 19, {"tokens": 450, "seconds": 2.5}),
        )
    )
    assert [member.digest for member in found.front] == ["dear", "cheap"]
    assert found.compared == ("quality", "cost", "latency") and found.front_size == 2
    quality, cost, latency = found.front[0].objectives
    assert (quality.name, quality.unit, quality.value, quality.cases) == ("quality", "grade", 0.75, 40)
    assert quality.low is not None and quality.high is not None and quality.low < 0.75 < quality.high
    assert (cost.name, cost.unit, cost.value) == ("cost", "tokens a run", 400)
    assert (latency.name, latency.unit, latency.value) == ("latency", "seconds a run", 2.0)
    assert found.notes == ("robustness is not known: no candidate ran with faults of its provider",)


def test_seed_and_best_finalist_are_told_where_others_seem_better_by_the_grades_of_the_search() -> None:
    """All are of one niche; the lucky one lost on fresh cases."""
    archive = archive_of(entry("seed", 20), entry("luck", 30), entry("mean", 28), entry("last", 27))
    found = trade_offs_of(archive, best="mean")
    assert [member.digest for member in (*found.front, *found.menu)] == ["luck", "luck"]
    assert [member.digest for member in found.beside] == ["seed", "mean"]
    assert [member.digest for member in trade_offs_of(archive, best="luck").beside] == ["seed"]


def test_cost_is_in_dollars_where_any_evaluation_cost_any() -> None:
    found = trade_offs_of(archive_of(entry("seed", 20, {"tokens": 90, "cost_usd": 0.0}), entry("paid", 30, {"cost_usd": 0.02})))
    assert [(one.unit, one.value) for one in found.front[0].objectives if one.name == "cost"] == [("USD a run", 0.02)]


def test_where_only_quality_is_known_the_front_is_the_best_and_says_what_is_missing() -> None:
    found = trade_offs_of(archive_of(entry("seed", 20), entry("better", 30)))
    assert [member.digest for member in found.front] == ["better"] and found.compared == ("quality",)
    assert [note.split(" is ")[0] for note in found.notes] == ["cost", "latency", "robustness"]


def test_what_only_some_are_known_of_is_shown_but_not_compared() -> None:
    tried = entry("better", 30)
    tried.faulted = dict.fromkeys(CASES[:10], True)
    found = trade_offs_of(archive_of(entry("seed", 20), tried))
    assert found.compared == ("quality",)
    assert [(one.name, one.value, one.unit) for one in found.front[0].objectives][-1] == ("robustness", 1.0, "share of cases")
    assert "robustness is known of 1 of 2 candidates: shown, not compared" in found.notes


def test_a_lucky_candidate_of_few_cases_does_not_take_the_front() -> None:
    assert names(archive_of(entry("seed", 20), entry("solid", 34), entry("lucky", 4, cases=4))) == ["solid"]


def test_noise_of_a_clock_makes_no_front() -> None:
    slow, fast = entry("seed", 20, {"seconds": 1.004}), entry("same", 24, {"seconds": 1.0041})
    assert names(archive_of(slow, fast)) == ["same"]


def test_a_long_front_is_cut_where_it_is_crowded_and_keeps_its_ends() -> None:
    crowd = [entry(f"c{index}", index, {"tokens": 10 + index * index}) for index in range(40)]
    found = trade_offs_of(archive_of(*crowd))
    assert found.front_size == 40 and len(found.front) == MOST_MEMBERS
    assert found.front[0].digest == "c39" and found.front[-1].digest == "c0"


def test_the_menu_has_the_best_of_each_niche_only() -> None:
    found = trade_offs_of(
        archive_of(
            entry("seed", 20, {"tokens": 130}),
            entry("twin", 24, {"tokens": 200}),
            entry("large", 22, {"tokens": 600}),
        )
    )
    assert [(member.digest, member.niche) for member in found.menu] == [
        ("twin", "1 text, 4-8 characters, 128-256 tokens"),
        ("large", "1 text, 4-8 characters, 512-1024 tokens"),
    ]
    assert found.niches == 2


def test_structures_tell_the_kinds_of_steps_apart() -> None:
    assert structure_of(seed_document()) == "claude"
    (step,) = seed_document()["steps"]
    lookup = {"name": "nearest", "type": "function", "function": "nearest_examples"}
    shown = {**step, "prompt": "Do it.\n\nSimilar examples:\nx\n\nNow this one:\n{{ text }}"}
    assert structure_of({"steps": [lookup, shown]}) == "nearest_examples > claude+examples"
    assert octave(0.0, "tokens") == "no tokens" and octave(0.3, "s") == "0.25-0.5 s"
    assert niche_of(entry("seed", 1)) == "1 text, 4-8 characters"


def test_nothing_measured_has_no_front() -> None:
    found = trade_offs_of(Archive())
    assert (found.front, found.menu, found.compared) == ((), (), ())


def test_weights_count_cost_relative_to_the_seed() -> None:
    seed, dear = entry("seed", 20, {"tokens": 100}), entry("dear", 24, {"tokens": 300})
    scale = scale_of([seed, dear])
    assert weighted_value(dear, seed, Weights(), scale) == pytest.approx(0.6)
    assert weighted_value(dear, seed, Weights(cost=0.1), scale) == pytest.approx(0.6 - 0.1 * 2)
    assert weighted_value(entry("unknown", 24), seed, Weights(cost=0.1), scale) == pytest.approx(0.6)
    assert objectives_of(seed, scale).keys["cost"] == -100


def test_finalists_are_the_searchs_own_unless_other_objectives_weigh() -> None:
    archive = archive_of(entry("seed", 20, {"tokens": 100}), entry("dear", 30, {"tokens": 900}), entry("cheap", 28, {"tokens": 90}))
    found = SearchResult(archive, ("dear",))
    assert finalists_of(found, Weights(), 3) == ("dear",)
    assert finalists_of(found, Weights(cost=0.05), 3) == ("cheap", "dear")


@pytest.mark.parametrize("wrong", [{"cost": -0.1}, {"latency": 2.0}, {"robustness": float("nan")}])
def test_weights_out_of_range_are_refused(wrong: dict[str, float]) -> None:
    with pytest.raises(InvalidInputError, match="from 0 to 1"):
        Weights(**wrong)


def test_a_search_that_was_over_before_it_measured_anything_has_no_finalists() -> None:
    archive = Archive()
    archive.add(Candidate("seed", {}))
    assert finalists_of(SearchResult(archive, ()), Weights(cost=0.05), 3) == ()
