"""Pictures and pages of a search: what is in them, that nothing of them is loaded from elsewhere or runs."""

from __future__ import annotations

import re
import struct
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from evoline import optimize
from evoline.lineage.tree import build
from evoline.optimization import Outcome
from evoline.plots import lineage_page
from evoline.plots.curve import draw_curve, new_leaders
from evoline.plots.front import draw_front
from evoline.plots.report import draw_all, report_page
from evoline.plots.story import Story, of_evolution, of_outcome
from evoline.plots.style import as_svg, drawn
from evoline.plots.tree import draw_tree
from shared.errors import InvalidInputError
from shared.events.trade_offs import TradeOffs
from shared.search.watching import GainPoint

WORDS = ("careful", "brief", "honest", "calm")
EVOLUTION: dict[str, Any] = {
    "evolution_id": "e", "seed_digest": "a",
    "candidates": [
        {"digest": "a", "parent": "", "operator": "seed", "text": "", "accepted": True},
        {"digest": "b", "parent": "a", "operator": "numbers", "text": "", "accepted": True},
    ],
}  # fmt: skip
NASTY = "<script>alert(1)</script> $x_{1}$ \x00 \u202e end"


def evaluate(candidate: dict[str, str], case: dict[str, Any]) -> tuple[float, str, dict[str, float]]:
    good = sum(word in candidate["prompt"] for word in WORDS)
    used = {"tokens": 40.0 + 10 * len(candidate["prompt"].split()), "seconds": 0.5 + 0.1 * good}
    return float(case["luck"] < 0.4 + 0.15 * good), "", used


def proposer(parent: dict[str, str], feedback: list[dict[str, Any]]) -> dict[str, str] | None:
    missing = [word for word in WORDS if word not in parent["prompt"]]
    return {"prompt": f"{parent['prompt']} {missing[0]}"} if missing else None


@pytest.fixture(scope="module")
def outcome() -> Outcome:
    cases = [{"number": number, "luck": (number * 37 % 100) / 100, "expected": str(number % 2)} for number in range(300)]
    train, dev, sealed = cases[:20], cases[20:100], cases[100:]
    return optimize({"prompt": f"Say it. {NASTY}"}, evaluate, train, dev, sealed, 500, proposer=proposer)


def size_of(png: Path) -> tuple[int, int]:
    content = png.read_bytes()
    assert content.startswith(b"\x89PNG")
    width, height = struct.unpack(">II", content[16:24])
    return width, height


def test_a_report_holds_pictures_and_one_page(outcome: Outcome, tmp_path: Path) -> None:
    files = outcome.report(tmp_path / "deep" / "report")
    assert [file.name for file in files] == ["gain.png", "front.png", "lineage.png", "index.html"]
    assert all(min(size_of(file)) > 300 for file in files[:3])
    page = files[3].read_text()
    assert page.count("<svg") == 3 and outcome.verdict in page and outcome.evidence.best_digest[:12] in page


def test_a_page_names_no_other_host_and_runs_nothing(outcome: Outcome) -> None:
    story = of_outcome(outcome)
    nodes = {digest: replace(node, text=NASTY) for digest, node in story.lineage.nodes.items()}
    evil = replace(story, lineage=replace(story.lineage, nodes=nodes, roots=list(nodes.values())), title=NASTY)
    for page in (report_page(evil, draw_all(evil)), lineage_page.page([evil.lineage])):
        assert not re.search(r"https?:|//[a-z]+\.", page)
        assert "<script" not in page and "&lt;script" in page
        assert "\x00" not in page and "\u202e" not in page and "\ufffd" in page
        assert "Content-Security-Policy" in page


def test_the_curve_ends_with_the_search_and_its_claim_is_the_sealed_one(outcome: Outcome) -> None:
    story = of_outcome(outcome)
    assert story.points[-1].spent == outcome.evidence.spent["search"]
    assert all(point.low <= point.gain <= point.high for point in story.points)
    assert story.gain is not None and story.gain.claim == outcome.claim <= story.gain.gain
    assert outcome.evidence.sealed_gain == (story.gain.gain, story.gain.low, story.gain.high)
    assert story.best in story.lineage.nodes and story.seed in story.lineage.nodes


def test_what_the_sealed_cases_rejected_is_drawn_as_bad_as_it_was() -> None:
    """The outcome claims 0, since one gets the seed; the picture is of the candidate."""

    def worse_later(candidate: dict[str, str], case: dict[str, Any]) -> float:
        good = sum(word in candidate["prompt"] for word in WORDS)
        return float(case["luck"] < 0.4 + (0.15 if case["number"] < 100 else -0.15) * good)

    cases = [{"number": number, "luck": (number * 37 % 100) / 100, "expected": str(number % 2)} for number in range(300)]
    found = optimize({"prompt": "Say it."}, worse_later, cases[:20], cases[20:100], cases[100:], 500, proposer=proposer)
    assert (found.verdict, found.claim) == ("rejected", 0.0)
    story = of_outcome(found)
    assert story.gain is not None and story.gain.low <= story.gain.gain < 0 and story.gain.claim is None
    assert (story.gain.gain, story.gain.low, story.gain.high) == found.evidence.sealed_gain


def test_nobody_takes_the_lead_before_it_is_above_the_seed() -> None:
    def points(*leads: tuple[str, float]) -> list[GainPoint]:
        return [GainPoint(spent, digest, gain, gain - 0.1, gain + 0.1, 8) for spent, (digest, gain) in enumerate(leads)]

    below = points(("seed", 0.0), ("a", -0.125), ("a", 0.05), ("a", 0.1), ("b", 0.0), ("b", 0.2))
    leads = [*below, *points(("seed", 0.0), ("c", -0.1), ("b", 0.1))]
    assert [(each.spent, each.digest) for each in new_leaders(leads, "seed")] == [(2, "a"), (5, "b"), (2, "b")]


@pytest.mark.parametrize("mean", [0.0, 1.0])
def test_a_mark_at_either_end_of_a_scale_is_drawn_whole(outcome: Outcome, mean: float) -> None:
    """Quality alone is known, so the front is drawn by niche; the lineage has a scale of scores beside it."""
    story = of_outcome(outcome)
    ends = {"value": mean, "low": mean, "high": mean}
    member = story.trade_offs.menu[0]
    quality = next(value for value in member.objectives if value.name == "quality").model_copy(update=ends)
    only = TradeOffs(front=(), menu=(member.model_copy(update={"objectives": (quality,)}),))
    front = drawn(partial(draw_front, replace(story, trade_offs=only)))
    scores = drawn(partial(draw_tree, story.lineage, ""))
    for figure in (front, scores):
        figure.canvas.draw()
        axes = figure.axes[-1]
        inside = axes.get_window_extent()
        at, _ = axes.transData.transform((mean, 0))
        radius = 4 / 72 * figure.dpi
        assert inside.x0 <= at - radius and at + radius <= inside.x1


def test_where_nothing_was_proposed_nothing_is_called_proposed(outcome: Outcome) -> None:
    story = of_outcome(outcome)
    assert "the one proposed" in shown(story) and story.best[:12] in report_page(story, {})
    none = replace(story, verdict="no_candidate")
    assert "the best finalist, not proposed" in shown(none) and "the one proposed" not in shown(none)
    assert ">nothing<" in report_page(none, {})
    record = {**EVOLUTION, "best_digest": "b", "verdict": "no_candidate"}
    assert build(None, [record], "p").nodes["b"].judged == "best finalist, no better on fresh cases"


def shown(story: Story) -> set[str]:
    """What the legend of the front explains."""
    (axes, *_) = drawn(partial(draw_front, story)).axes
    return set(axes.get_legend_handles_labels()[1])


def test_the_same_search_is_drawn_the_same(outcome: Outcome) -> None:
    story = of_outcome(outcome)
    first, again = (as_svg(drawn(partial(draw_curve, story))) for _ in range(2))
    assert first == again


def test_a_search_that_has_only_begun_is_drawn_too() -> None:
    record = {"pipeline": "p", "evolution_id": "e", "status": "searching", "command": {"strategy": "climb", "evaluations": 100}}
    story = of_evolution(record, build(None, [], "p"))
    page = report_page(story, draw_all(story))
    assert "searching" in page and "0 of 100" in page


def test_where_nothing_can_be_written_the_file_is_named(outcome: Outcome, tmp_path: Path) -> None:
    (tmp_path / "taken").write_text("")
    with pytest.raises(InvalidInputError, match="taken"):
        outcome.report(tmp_path / "taken")
