"""Islands: parts of a population that mate among themselves, and the ring on which their best migrate (Whitley et al. 1999)."""

from __future__ import annotations

from collections.abc import Sequence

from shared.search.candidates import Entry


def shares(total: int, parts: int) -> list[int]:
    """`total` in `parts` numbers that differ by one at most, larger ones first."""
    each, more = divmod(total, parts)
    return [each + (index < more) for index in range(parts)]


def migrated(islands: Sequence[Sequence[Entry]], migrants: int) -> list[list[Entry]]:
    """Each island, fittest first, with the best `migrants` of the one before it on the ring instead of its own least fit.

    Who lives there already does not come twice. One island alone stays as it is."""
    if len(islands) < 2:
        return [list(island) for island in islands]
    changed = []
    for index, island in enumerate(islands):
        here = {entry.candidate.digest for entry in island}
        coming = [entry for entry in islands[index - 1][:migrants] if entry.candidate.digest not in here]
        changed.append([*island[: len(island) - len(coming)], *coming])
    return changed
