"""Lineages as one page."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

from evoline.lineage.tree import Lineage
from evoline.plots import pages
from evoline.plots.style import as_svg, drawn
from evoline.plots.tree import draw_tree, height_of


def page(lineages: Sequence[Lineage]) -> str:
    parts: list[str] = []
    for each in lineages:
        parts += [pages.heading(each.pipeline), tree_picture(each, each.pipeline), pages.lineage_table(each)]
    names = ", ".join(each.pipeline for each in lineages)
    return pages.page(f"Lineage of {names}" if names else "Nothing was evolved yet", parts)


def tree_picture(lineage: Lineage, title: str) -> str:
    figure = drawn(partial(draw_tree, lineage, title), width=12, height=height_of(lineage))
    return pages.figure(as_svg(figure), f"Tree of {len(lineage.nodes)} revisions; the table below holds the same")
