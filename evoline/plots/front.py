"""The Pareto front: which candidates no other one beats in everything, and what could be deployed instead."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from evoline.plots.story import Story
from evoline.plots.style import BLUE, GREY, SHARES, VERMILION, legend
from shared.events.trade_offs import Member, ObjectiveName, ObjectiveValue

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_MOST_NAMED = 8
_PRICES: tuple[ObjectiveName, ...] = ("cost", "latency")


def draw_front(story: Story, figure: Figure) -> None:
    known = [name for name in _PRICES if len(_prices(story, name)) > 1] or [name for name in _PRICES if _prices(story, name)]
    if not members(story):
        figure.subplots().text(0.5, 0.5, "no candidate was measured", ha="center")
    elif known:
        for axes, name in zip(figure.subplots(1, len(known), sharey=True, squeeze=False)[0], known, strict=True):
            _draw_prices(story, axes, name, named=name == known[0])
            if name == known[0]:
                axes.set_ylabel("quality: mean grade, 95% interval")
    else:
        _draw_quality(story, figure.subplots())
    figure.suptitle(f"Pareto front: {story.title}", x=0.01, ha="left", fontsize=11, fontweight="bold")
    legend(figure, figure.axes[0], 2)


def _prices(story: Story, name: ObjectiveName) -> set[str]:
    """What the members cost; where all cost the same there is nothing to draw."""
    return {f"{values_of(member)[name].value:.3g}" for member in members(story) if name in values_of(member)}


def members(story: Story) -> list[Member]:
    """Of front and menu, with seed and best finalist; each once."""
    told = story.trade_offs
    return list({member.digest: member for member in (*told.menu, *told.front, *told.beside)}.values())


def values_of(member: Member) -> Mapping[ObjectiveName, ObjectiveValue]:
    return {value.name: value for value in member.objectives}


def _draw_prices(story: Story, axes: Axes, price: ObjectiveName, *, named: bool) -> None:
    """`named`: the members of the front bear the beginning of their digest."""
    front, menu = ({member.digest for member in group} for group in (story.trade_offs.front, story.trade_offs.menu))
    has_price = [member for member in members(story) if price in values_of(member)]
    others = [member for member in has_price if member.digest in menu - front]
    beside = [member for member in has_price if member.digest not in menu | front]
    on_front = [member for member in has_price if member.digest in front]
    _points(axes, others, price, marker="s", color=GREY, filled=False, label="best of its niche, not on the front")
    _points(axes, beside, price, marker=".", color=GREY, filled=False, label="_under the marks of seed and best finalist")
    compared = ", ".join(story.trade_offs.compared)
    how = f"on the front by {compared}\n(compared with quality pulled to the mean where cases are few)"
    _points(axes, on_front, price, marker="o", color=BLUE, filled=True, label=how)
    _marked(story, axes, has_price, price)
    if named:
        _name(axes, [member for member in on_front if member.digest not in (story.seed, story.best)], price)
    unit = values_of(has_price[0])[price].unit
    axes.set_xlabel(f"{price}: {unit} (less is better)")


def _name(axes: Axes, chosen: Sequence[Member], price: ObjectiveName) -> None:
    """The best ones first; where two would be written over each other, the second has no name."""
    (left, right), (bottom, top) = axes.get_xlim(), axes.get_ylim()
    written: list[tuple[float, float]] = []
    for member in sorted(chosen, key=lambda one: -values_of(one)["quality"].value)[:_MOST_NAMED]:
        x, y = values_of(member)[price].value, values_of(member)["quality"].value
        if any(abs(x - each) < 0.2 * (right - left) and abs(y - other) < 0.05 * (top - bottom) for each, other in written):
            continue
        written.append((x, y))
        axes.annotate(member.digest[:6], (x, y), xytext=(6, 4), textcoords="offset points", fontsize=8)


def _points(  # noqa: PLR0913 - how they look, each by its name
    axes: Axes, chosen: Sequence[Member], price: ObjectiveName, *, marker: str, color: str, filled: bool, label: str
) -> None:
    if not chosen:
        return
    values = [values_of(member) for member in chosen]
    quality = [each["quality"] for each in values]
    below = [max(0.0, each.value - (each.low or 0.0)) for each in quality]
    above = [max(0.0, (1.0 if each.high is None else each.high) - each.value) for each in quality]
    axes.errorbar(
        [each[price].value for each in values],
        [each.value for each in quality],
        yerr=[below, above],
        fmt=marker,
        color=color,
        elinewidth=1,
        alpha=0.9,
        markersize=7,
        label=label,
        markerfacecolor=color if filled else "white",
    )


def _marked(story: Story, axes: Axes, chosen: Sequence[Member], price: ObjectiveName) -> None:
    for digest, marker, color, label in ((story.seed, "D", "black", "the seed"), (story.best, "*", VERMILION, story.best_is)):
        for member in chosen:
            if member.digest == digest:
                at = values_of(member)
                size = 16 if marker == "*" else 8
                axes.plot([at[price].value], [at["quality"].value], marker, color=color, markersize=size, label=label, zorder=6)


def _draw_quality(story: Story, axes: Axes) -> None:
    """One objective only: the menu, by niche."""
    chosen = sorted(members(story), key=lambda member: values_of(member)["quality"].value)
    for row, member in enumerate(chosen):
        quality = values_of(member)["quality"]
        color = VERMILION if member.digest == story.best else "black" if member.digest == story.seed else BLUE
        axes.plot([quality.low or 0.0, 1.0 if quality.high is None else quality.high], [row, row], color=color, linewidth=1.5)
        axes.plot([quality.value], [row], "o", color=color)
    names = {story.best: f" ({story.best_is})", story.seed: " (the seed)"}
    labels = [f"{member.niche[:48]}\n{member.digest[:6]}{names.get(member.digest, '')}" for member in chosen]
    axes.set_yticks(range(len(chosen)), labels, fontsize=8)
    axes.set_xlim(*SHARES)
    axes.set_xlabel("quality: mean grade on the search's cases, 95% interval (cost and latency are not known)")
