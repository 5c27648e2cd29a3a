"""The tree of revisions, from what two services answer."""

from __future__ import annotations

from typing import Any

import pytest

from evoline.cli.lineage import _print, diff_lines, told
from evoline.lineage.tree import Lineage, build
from evoline.sealed_gain import SealedGain

SCORE = {"mean": 0.5, "low": 0.3, "high": 0.7, "cases": 20}


def candidate(digest: str, parent: str, *, accepted: bool = True, operator: str = "vote") -> dict[str, Any]:
    fields = {"digest": digest, "parent": parent, "operator": operator, "text": f"made {digest}", "score": SCORE}
    return {**fields, "accepted": accepted, "on_front": False}


def evolution(name: str, seed: str, best: str, candidates: list[dict[str, Any]], **changes: Any) -> dict[str, Any]:
    fields = {"evolution_id": name, "pipeline": "p", "status": "finished", "strategy": "climb", "created_at": name, "left_out": 0}
    fields |= {"seed_digest": seed, "best_digest": best, "verdict": "certified"}
    fields |= {"gain": 0.1, "gain_low": 0.0, "gain_high": 0.2, "claim": 0.06}
    return {**fields, "candidates": [candidate(seed, "", operator="seed"), *candidates], **changes}


def revision(digest: str, parent: str | None, status: str = "approved") -> dict[str, Any]:
    return {"digest": digest, "parent_digest": parent, "status": status, "author": "ada", "created_at": "2026", "quarantine": None}


FIRST = evolution("e1", "s0", "b1", [candidate("a1", "s0"), candidate("x1", "s0", accepted=False), candidate("b1", "a1")])
SECOND = evolution("e2", "b1", "b2", [candidate("b2", "gone")])
PIPELINE = {
    "revisions": [revision("s0", None), revision("b1", "s0"), revision("b2", "b1")],
    "previous": ["s0", "b1"],
    "stable": "b2",
    "canary": None,
}


def lineage() -> Lineage:
    return build(PIPELINE, [SECOND, FIRST], "p")


def parents(found: Lineage) -> dict[str, str]:
    return {child.digest: node.digest for node in found.nodes.values() for child in node.children}


def test_what_was_promoted_is_the_root_of_what_came_from_it() -> None:
    found = lineage()
    assert [root.digest for root in found.roots] == ["s0"]
    assert parents(found) == {"a1": "s0", "x1": "s0", "b1": "a1", "b2": "b1"}
    assert found.nodes["b1"].operator == "vote", "an evolution that began with it does not hide how it was made"
    assert (found.nodes["b2"].serving, found.nodes["b1"].serving) == ("stable", "was stable")
    assert found.nodes["b1"].gain == SealedGain(0.1, 0.0, 0.2, 0.06) and found.nodes["b1"].evolution_id == "e1"


def promotion(name: str, digest: str, status: str, gate: str = "", **changes: Any) -> dict[str, Any]:
    fields: dict[str, Any] = {
        "change_id": name,
        "digest": digest,
        "parent_digest": "b2",
        "author": "ann",
        "requested_by": None,
        "group_id": None,
    }
    fields |= {"status": status, "decided_by": "gate", "reasons": [], "created_at": "2026-11-27T08:00", "decided_at": ""}
    seen = {"verdict": gate, "gain": 0.1, "gain_low": 0.0, "gain_high": 0.2, "claim": 0.06} if gate else None
    return {**fields, "gate": seen, **changes}


def test_what_was_promoted_by_hand_is_shown_with_its_verdict_its_claim_and_who_did_it(
    capsys: pytest.CaptureFixture[str],
) -> None:
    grown: dict[str, Any] = {**PIPELINE, "stable": "h1"}
    grown["revisions"] = [*grown["revisions"], revision("h1", "b2")]
    promotions = [
        promotion("c3", "h3", "vetoed", decided_by="check"),
        promotion("c2", "h2", "vetoed", "canary", decided_by="review:bob", parent_digest="h1"),
        promotion("c1", "h1", "approved", "certified"),
        promotion("c0", "b2", "approved", "certified", author="evolution"),
    ]
    found = build(grown, [{**SECOND, "change_id": "c0"}], "p", promotions).shown(everything=False)
    assert [each["change_id"] for each in found.promotions] == ["c3", "c2", "c1"], "the search tells its own"
    verdicts = {digest: found.nodes[digest].verdict for digest in ("h1", "h2", "h3", "b2")}
    assert verdicts == {"h1": "certified", "h2": "vetoed by review:bob", "h3": "vetoed by check", "b2": "certified"}
    assert found.nodes["h1"].gain == SealedGain(0.1, 0.0, 0.2, 0.06) and found.nodes["h1"].serving == "stable"
    assert parents(found)["h2"] == "h1" and found.nodes["h2"].author == "ann"
    _print(build(grown, [], "p", promotions[:-1]))
    printed = capsys.readouterr().out
    assert "not evolved yet" not in printed
    assert "c1" in printed and "ann" in printed and "+0.060 claimed, +0.100 [+0.000, +0.200] seen" in printed
    assert "c2" in told(found)["promotions"][1].values()


def test_a_search_whose_candidate_people_vetoed_names_them_in_the_tree() -> None:
    found = build(None, [{**FIRST, "verdict": "vetoed", "vetoed_by": "review:bob"}], "p")
    assert found.nodes["b1"].verdict == "vetoed by review:bob"


def test_what_led_nowhere_is_counted_instead_of_shown() -> None:
    found = lineage().shown(everything=False)
    assert "x1" not in found.nodes and found.nodes["s0"].hidden == 1
    assert "x1" in lineage().shown(everything=True).nodes


def test_around_one_revision_only_its_line_is_shown() -> None:
    assert set(lineage().around("b1").nodes) == {"s0", "a1", "b1", "b2"}
    assert set(lineage().around("x1").nodes) == {"s0", "x1"}
    assert set(lineage().of_evolution("e1").nodes) == {"s0", "a1", "x1", "b1"}
    assert [each["evolution_id"] for each in lineage().of_evolution("e2").evolutions] == ["e2"]


def test_descent_told_in_a_circle_is_cut_and_nothing_is_lost() -> None:
    back = evolution("e3", "b1", "s0", [candidate("s0", "b1")])
    found = build(PIPELINE, [back, FIRST], "p")
    reached: list[str] = []
    waiting = list(found.roots)
    while waiting:
        one = waiting.pop()
        reached.append(one.digest)
        waiting += one.children
    assert sorted(reached) == sorted(found.nodes)


def test_a_lineage_without_deployments_and_one_without_searches_are_trees_too() -> None:
    assert set(build(None, [FIRST], "p").nodes) == {"s0", "a1", "x1", "b1"}
    assert parents(build(PIPELINE, [], "p")) == {"b1": "s0", "b2": "b1"}


def test_a_very_deep_line_is_no_trouble() -> None:
    rows = [candidate(f"c{index}", f"c{index - 1}" if index else "s0") for index in range(5000)]
    found = build(None, [evolution("e", "s0", "c4999", rows)], "p").shown(everything=False)
    assert len(told(found)["nodes"]) == 5001


def test_a_diff_is_that_of_the_documents() -> None:
    lines = diff_lines({"a": "one\ntwo\n"}, {"a": "one\nthree\n"}, "0" * 64, "1" * 64)
    assert lines[0].startswith("--- 0000") and "-  two" in lines and "+  three" in lines
    assert all(line.startswith(("+", "-", "@")) for line in diff_lines(None, {"a": 1}, "", "1" * 64))
