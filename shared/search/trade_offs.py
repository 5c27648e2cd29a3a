"""From an archive to its trade-offs: the Pareto front over the objectives known of all, and the menu of niches."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from shared.events.trade_offs import Member, ObjectiveName, TradeOffs
from shared.search.candidates import Archive, Entry, SearchResult
from shared.search.front import crowding, fronts
from shared.search.niches import niche_of, structure_of
from shared.search.objectives import Objectives, Weights, objectives_of, scale_of, weighted_value

MOST_MEMBERS = 24
"""Of a front and of a menu: what travels in a fact must stay small."""
_LONGEST_TEXT = 200
_MISSING: Mapping[ObjectiveName, str] = {
    "cost": "what an evaluation costs is not told by whoever measured",
    "latency": "how long an evaluation takes is not told by whoever measured",
    "robustness": "no candidate ran with faults of its provider",
}


@dataclass(frozen=True)
class _Measured:
    entry: Entry
    objectives: Objectives


def trade_offs_of(archive: Archive, weights: Weights | None = None, best: str = "") -> TradeOffs:
    """Of all candidates that were measured. Objectives that only some are known of are shown, not compared. `best`: digest of the
    best finalist, who is told in any case, as is the seed."""
    measured = _measured(archive)
    compared = _compared(measured)
    whole = _front(measured, compared)
    front, niches = _best_first(_uncrowded(whole, compared)), _menu(measured)
    menu = _best_first(niches)[:MOST_MEMBERS]
    told = {one.entry.candidate.digest for one in (*front, *menu)}
    seed = archive.entries[0].candidate.digest if archive.entries else ""
    beside = [one for one in measured if (digest := one.entry.candidate.digest) in (seed, best) and digest not in told]
    return TradeOffs(
        compared=compared,
        front=tuple(_member(one) for one in front),
        front_size=len(whole),
        menu=tuple(_member(one) for one in menu),
        niches=len(niches),
        beside=tuple(_member(one) for one in beside),
        notes=_notes(measured, compared),
        scalar_weights=weights.told if weights else {},
    )


def finalists_of(found: SearchResult, weights: Weights, count: int) -> tuple[str, ...]:
    """Digests of those worth confirming: the search's ranking, or, where the final choice weighs other objectives too, the best by
    that scalar among its ranking and the front."""
    if not weights.told:
        return found.ranking[:count]
    measured = _measured(found.archive)
    if not measured:
        return ()  # the search was over before it measured anything
    seed, scale = measured[0].entry, scale_of([one.entry for one in measured])
    on_front = (one.entry.candidate.digest for one in _front(measured, _compared(measured)))
    known = [found.archive[digest] for digest in dict.fromkeys((*found.ranking, *on_front)) if digest != seed.candidate.digest]
    worth = {one.candidate.digest: weighted_value(one, seed, weights, scale, shrunk=True) for one in known}
    return tuple(sorted(worth, key=lambda digest: -worth[digest])[:count])


def _measured(archive: Archive) -> list[_Measured]:
    entries = [entry for entry in archive.entries if entry.grades]
    scale = scale_of(entries)
    return [_Measured(entry, objectives_of(entry, scale)) for entry in entries]


def _compared(measured: Sequence[_Measured]) -> tuple[ObjectiveName, ...]:
    names: tuple[ObjectiveName, ...] = ("quality", "cost", "latency", "robustness")
    return tuple(name for name in names if measured and all(name in one.objectives.keys for one in measured))


def _front(measured: Sequence[_Measured], compared: Sequence[ObjectiveName]) -> list[_Measured]:
    sorted_fronts = fronts([_keys(one, compared) for one in measured])
    return [measured[position] for position in sorted_fronts[0]] if sorted_fronts else []


def _uncrowded(front: Sequence[_Measured], compared: Sequence[ObjectiveName]) -> list[_Measured]:
    """At most `MOST_MEMBERS`: those that differ most from their neighbours, the extremes among them."""
    if len(front) <= MOST_MEMBERS:
        return list(front)
    distances = crowding([_keys(one, compared) for one in front])
    kept = sorted(range(len(front)), key=lambda position: -distances[position])[:MOST_MEMBERS]
    return [front[position] for position in sorted(kept)]


def _menu(measured: Sequence[_Measured]) -> list[_Measured]:
    best: dict[str, _Measured] = {}
    for one in measured:
        niche = niche_of(one.entry)
        if niche not in best or one.objectives.keys["quality"] > best[niche].objectives.keys["quality"]:
            best[niche] = one
    return list(best.values())


def _best_first(members: Sequence[_Measured]) -> list[_Measured]:
    return sorted(members, key=lambda one: -one.objectives.keys["quality"])


def _keys(one: _Measured, compared: Sequence[ObjectiveName]) -> list[float]:
    return [one.objectives.keys[name] for name in compared]


def _member(one: _Measured) -> Member:
    candidate = one.entry.candidate
    return Member(
        digest=candidate.digest,
        parent=candidate.parent,
        operator=candidate.operator,
        text=candidate.text[:_LONGEST_TEXT],
        niche=niche_of(one.entry),
        structure=structure_of(candidate.document),
        objectives=tuple(one.objectives.values.values()),
    )


def _notes(measured: Sequence[_Measured], compared: Sequence[ObjectiveName]) -> tuple[str, ...]:
    notes = []
    for name, missing in _MISSING.items():
        known = sum(name in one.objectives.keys for one in measured)
        if measured and not known:
            notes.append(f"{name} is not known: {missing}")
        elif measured and name not in compared:
            notes.append(f"{name} is known of {known} of {len(measured)} candidates: shown, not compared")
    return tuple(notes)
