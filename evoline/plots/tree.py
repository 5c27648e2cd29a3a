"""The lineage as a picture: a row a revision, indented below its parent, its score with interval beside it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from evoline.lineage.tree import NO_CANDIDATE, Lineage, Node
from evoline.plots.style import BLUE, GREEN, GREY, ORANGE, SHARES, SKY, VERMILION, legend

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

MOST_ROWS = 60
_DEEPEST = 12
"""Deeper rows are not indented any more."""
VERDICTS = {
    "certified": GREEN,
    "canary": ORANGE,
    "queued": ORANGE,
    "rejected": VERMILION,
    "vetoed": VERMILION,
    "refused": VERMILION,
    "stopped": GREY,
}

Row = tuple[int, Node, int]
"""(depth, node, row of its parent or -1)."""


def rows_of(lineage: Lineage, most: int = MOST_ROWS) -> tuple[list[Row], int]:
    """(rows from the root down, how many nodes there was no room for). What matters most stays: revisions, verdicts, accepted."""
    found: list[Row] = []
    waiting = [(0, root, -1) for root in reversed(lineage.roots)]
    while waiting and len(found) < most:
        depth, node, parent = waiting.pop()
        found.append((depth, node, parent))
        row = len(found) - 1
        waiting += [(depth + 1, child, row) for child in reversed(node.children)]
    return found, len(lineage.nodes) - len(found)


def draw_tree(lineage: Lineage, title: str, figure: Figure) -> None:
    rows, left_out = rows_of(lineage)
    tree, scores = figure.subplots(1, 2, sharey=True, width_ratios=[3, 1])
    tree.set_ylim(max(1, len(rows)) - 0.4, -0.6)
    _draw_edges(rows, tree)
    for row, (depth, node, _) in enumerate(rows):
        _draw_node(row, min(depth, _DEEPEST), node, tree)
        _draw_score(row, node, scores)
    tree.set_xlim(-0.5, _DEEPEST + 8)
    tree.set_axis_off()
    scores.set_xlim(*SHARES)
    scores.spines["left"].set_visible(False)
    scores.tick_params(left=False)
    scores.set_xlabel("mean grade on the search's\ncases, 95% interval", fontsize=9)
    more = f" ({left_out} more are not shown)" if left_out > 0 else ""
    figure.suptitle(f"Lineage: {title}{more}", x=0.01, ha="left", fontsize=11, fontweight="bold")
    legend(figure, scores, 4)


def height_of(lineage: Lineage) -> float:
    """Inches for all its rows to be read."""
    return 1.6 + 0.27 * max(3, len(rows_of(lineage)[0]))


def _draw_edges(rows: list[Row], axes: Axes) -> None:
    for row, (depth, _, parent) in enumerate(rows):
        if parent < 0:
            continue
        above = min(rows[parent][0], _DEEPEST)
        here = min(depth, _DEEPEST)
        left = above if here > above else above - 0.35
        axes.plot([left, left, here], [parent, row, row], color="#B5B5B5", linewidth=1, zorder=1)


def _draw_node(row: int, at: float, node: Node, axes: Axes) -> None:
    marker, color, _ = look_of(node)
    axes.plot([at], [row], marker, color=color, markersize=8, zorder=3, markerfacecolor=color if node.is_notable else "white")
    axes.annotate(label_of(node), (at, row), xytext=(8, 0), textcoords="offset points", va="center", fontsize=8.5, clip_on=False)


def _draw_score(row: int, node: Node, axes: Axes) -> None:
    marker, color, label = look_of(node)
    if node.score:
        axes.plot([node.score["low"], node.score["high"]], [row, row], color=color, linewidth=1.5)
        axes.plot([node.score["mean"]], [row], marker, color=color, markersize=6, label=label)
    else:
        axes.plot([], [], marker, color=color, label=label, linestyle="none")


def look_of(node: Node) -> tuple[str, str, str]:
    """(marker, colour, what they mean)."""
    if node.status == "quarantined":
        return "X", VERMILION, "quarantined"
    if node.serving == "stable":
        return "D", GREEN, "stable now"
    if node.verdict:
        words = node.judged if node.verdict == NO_CANDIDATE else f"judged: {node.verdict}"
        return "s", VERDICTS.get(node.verdict.partition(" ")[0], GREY), words
    if node.status:
        return "D", "black", "earlier revision"
    if not node.parent:
        return "D", "black", "seed"
    if node.accepted:
        return "o", BLUE, "accepted by the search"
    return ("^", SKY, "only on the front") if node.on_front else ("o", GREY, "tried")


def label_of(node: Node) -> str:
    gain = f"  {node.verdict} {node.gain.in_points}" if node.gain else ""
    serving = f"  {node.serving}" if node.serving else ""
    plain = "".join(sign if sign.isprintable() else " " for sign in node.made)
    return f"{node.digest[:8]}  {plain[:60]}{gain}{serving}"
