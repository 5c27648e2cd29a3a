"""Gain over budget: what seemed gained while searching, and what the sealed cases said of it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from evoline.plots.story import Story
from evoline.plots.style import BLUE, GREEN, GREY, ORANGE, VERMILION, legend
from evoline.sealed_gain import SealedGain
from shared.search.watching import GainPoint

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

CLAIM_COLOURS = {"certified": GREEN, "canary": ORANGE}


def draw_curve(story: Story, figure: Figure) -> None:
    axes = figure.subplots()
    axes.axhline(0.0, color="black", linewidth=1)
    axes.annotate("the seed", (0, 0), xytext=(4, -11), textcoords="offset points", fontsize=9)
    if story.points:
        _draw_search(story, axes)
    else:
        axes.text(0.5, 0.6, "nothing was measured beside the seed", transform=axes.transAxes, ha="center")
    end = max([story.spent, *(point.spent for point in story.points)], default=0)
    searched = max((point.spent for point in story.points), default=0)
    if end > searched > 0:
        axes.axvspan(searched, end, color="#F3F3F3", linewidth=0, zorder=0)
        axes.annotate(
            "finalists on fresh cases, then the sealed test", ((searched + end) / 2, 0.01), xycoords=("data", "axes fraction"),
            ha="center", va="bottom", fontsize=9, color=GREY,
        )  # fmt: skip
    if story.gain is not None:
        _draw_sealed(story, story.gain, axes, end)
    axes.axvline(story.budget, color=GREY, linestyle=":", linewidth=1)
    axes.annotate(
        f"budget {story.budget}", (story.budget, 0.99), xycoords=("data", "axes fraction"), xytext=(-3, 0),
        textcoords="offset points", ha="right", va="top", fontsize=9, color=GREY, rotation=90,
    )  # fmt: skip
    axes.set_xlim(0, max(story.budget, end) * 1.04)
    axes.set_xlabel("evaluations spent (runs of a candidate on one case)")
    axes.set_ylabel("gain over the seed (points of 100)")
    axes.set_title(f"Gain over budget: {story.title}")
    legend(figure, axes, 1)


def _draw_search(story: Story, axes: Axes) -> None:
    spent = [point.spent for point in story.points]
    low, high = ([100 * getattr(point, name) for point in story.points] for name in ("low", "high"))
    axes.fill_between(spent, low, high, step="post", color=BLUE, alpha=0.18, linewidth=0)
    label = "leader on the cases that the search saw, with 95% interval (optimistic: it was chosen by them)"
    axes.step(spent, [100 * point.gain for point in story.points], where="post", color=BLUE, linewidth=2, label=label)
    new = new_leaders(story.points, story.seed)
    if new:
        axes.plot(
            [point.spent for point in new], [100 * point.gain for point in new], "o", color=BLUE, markersize=5,
            markerfacecolor="white", label="another candidate took the lead",
        )  # fmt: skip


def new_leaders(points: Sequence[GainPoint], seed: str) -> list[GainPoint]:
    """Where a candidate was first seen above the seed since it leads: one that leads by its mean may be below it on the cases that
    both have met so far, and has gained nothing yet."""
    found: list[GainPoint] = []
    leader = seed
    for point in points:
        if point.digest == seed:
            leader = seed
        elif point.digest != leader and point.gain > 0.0:
            leader = point.digest
            found.append(point)
    return found


def _draw_sealed(story: Story, found: SealedGain, axes: Axes, at: float) -> None:
    """The mark is what may be claimed, the bar the interval of what was seen."""
    gain, low, high = (100 * value for value in (found.best_known, found.low, found.high))
    text = f"sealed cases, looked at once: {story.verdict}, {found.in_points}, points ({story.confidence:.0%} interval)"
    axes.errorbar(
        [at], [gain], yerr=[[max(0.0, gain - low)], [max(0.0, high - gain)]], fmt="D", markersize=8, capsize=5, linewidth=2,
        color=CLAIM_COLOURS.get(story.verdict, VERMILION), label=text, zorder=5,
    )  # fmt: skip
