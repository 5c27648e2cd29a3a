"""One search as files: gain.png, front.png, lineage.png and index.html, which holds all of them."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from evoline.lineage.tree import NO_CANDIDATE
from evoline.plots import pages
from evoline.plots.curve import draw_curve
from evoline.plots.front import draw_front
from evoline.plots.story import Story
from evoline.plots.style import as_svg, cannot_write, drawn, save_png
from evoline.plots.tree import draw_tree, height_of

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def write_report(story: Story, directory: Path) -> tuple[Path, ...]:
    """The files written. Raises `ConfigurationError` without matplotlib, `InvalidInputError` where a file cannot be written."""
    pictures = draw_all(story)
    try:
        directory.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise cannot_write(directory, error) from error
    files = [directory / f"{name}.png" for name in pictures]
    for file, picture in zip(files, pictures.values(), strict=True):
        save_png(picture, file)
    index = directory / "index.html"
    try:
        index.write_text(report_page(story, pictures), encoding="utf-8")
    except OSError as error:
        raise cannot_write(index, error) from error
    return (*files, index)


def draw_all(story: Story) -> dict[str, Figure]:
    """By the name of the file."""
    shown = story.lineage.shown(everything=False)
    return {
        "gain": drawn(partial(draw_curve, story), width=9, height=5),
        "front": drawn(partial(draw_front, story), width=9, height=5),
        "lineage": drawn(partial(draw_tree, shown, story.title), width=12, height=height_of(shown)),
    }


def report_page(story: Story, pictures: dict[str, Figure]) -> str:
    sealed = f"{story.gain.in_points}, points, {story.confidence:.0%} interval" if story.gain else "not looked at"
    facts = [
        ("verdict", story.verdict),
        ("gain on sealed cases", sealed),
        ("evaluations", f"{story.spent} of {story.budget}"),
        ("candidates", len(story.lineage.nodes)),
        ("front", f"{story.trade_offs.front_size} by {', '.join(story.trade_offs.compared) or 'nothing'}"),
        ("proposed", story.best[:12] if story.best and story.verdict != NO_CANDIDATE else "nothing"),
    ]
    described = {"gain": "Gain over budget", "front": "Pareto front", "lineage": "Lineage"}
    parts = [pages.table(("", ""), facts), *(pages.paragraph(reason) for reason in story.reasons)]
    for name, picture in pictures.items():
        parts += [pages.heading(described[name]), pages.figure(as_svg(picture), f"{described[name]}: {story.title}")]
    notes = [pages.paragraph(note) for note in story.trade_offs.notes]
    return pages.page(f"Search: {story.title}", [*parts, *notes, pages.lineage_table(story.lineage)])
