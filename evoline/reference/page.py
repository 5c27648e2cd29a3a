"""The page: written by hand down to a mark, generated below it."""

from __future__ import annotations

from pathlib import Path

from evoline.reference.sections import common_keys, defaults_and_limits, filters, functions, graders, inputs_from_stores
from evoline.reference.step_sections import step_types

PAGE = Path(__file__).parents[2] / "docs" / "language.md"
MARK = "<!-- generated below this line by `python -m evoline.reference`; do not edit -->\n"


def renewed(page: str) -> str:
    """The page with its generated part made anew. Raises ValueError where the mark is missing."""
    head, mark, _ = page.partition(MARK)
    if not mark:
        raise ValueError("the page has no mark below which it is generated")
    parts = (step_types(), common_keys(), defaults_and_limits(), filters(), functions(), graders(), inputs_from_stores())
    return head + mark + "".join(f"\n{part.strip()}\n" for part in parts)
