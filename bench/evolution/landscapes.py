"""Planted landscapes: the search alone beside its peers at equal budgets, and what the whole of `optimize` ships."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from bench.evolution.competitors import count_for, installed, ready, solved
from bench.evolution.numbers import points, points_of_groups, share
from bench.evolution.ours import Certified, SearchAlone
from bench.evolution.planted import FAMILIES, SEED
from bench.evolution.problems import Competitor, Found, landscape_problem
from bench.evolution.report import table, write_section
from bench.evolution.rows import Rows, so_far
from bench.evolution.sizes import Size

ALONE, SHIPPED = "Planted landscapes: true gain", "Planted landscapes: what is shipped"
BUDGETS = (500, 1000, 2000)
STRATEGIES = ("guided", "climb", "genetic", "best_of")
CERTIFIED = ("guided", "climb")
FEW = BUDGETS[0]
"""The budget at which so few are certified that claims are judged on more landscapes, too."""
Solved = Sequence[tuple[int, tuple[float, float], Found]]
"""(landscape, (true gain, claimed gain), what was found)."""
Gains = dict[tuple[str, str, int], dict[int, tuple[float, float]]]
"""(competitor, family, budget) -> landscape -> (true gain, claimed gain)."""


def run_alone(size: Size) -> None:
    rows, gains = Rows("landscapes", only_known=size.only_known), Gains()
    competitors: list[Competitor] = [*(SearchAlone(name) for name in STRATEGIES), *installed()]
    for competitor in competitors:
        with ready(competitor):
            count = count_for(competitor, size.landscapes)
            for family in FAMILIES:
                for budget in BUDGETS:
                    answers = so_far(solved_family(rows, competitor, family, budget, count))
                    gains[competitor.name, family, budget] = {number: gain for number, gain, _ in answers}
        write_section(ALONE, _alone_text(gains, size), size.results)


def run_shipped(size: Size) -> None:
    rows, found = Rows("shipped", only_known=size.only_known), {}
    for strategy in CERTIFIED:
        competitor = Certified(strategy)
        for budget in BUDGETS:
            for family in FAMILIES:
                found[strategy, family, budget] = so_far(solved_family(rows, competitor, family, budget, size.landscapes))
            write_section(SHIPPED, _shipped_text(found, size), size.results)
        count = size.more_landscapes
        for family in FAMILIES:
            found[strategy, f"{family} to {count - 1}", FEW] = so_far(solved_family(rows, competitor, family, FEW, count))
        write_section(SHIPPED, _shipped_text(found, size), size.results)


def solved_family(
    rows: Rows, competitor: Competitor, family: str, budget: int, count: int
) -> Iterator[tuple[int, tuple[float, float], Found]]:
    for number in range(count):
        landscape = FAMILIES[family](number)
        found = solved(rows, competitor, [family], landscape_problem(landscape, budget))
        yield number, (landscape.quality(found.best) - landscape.quality(SEED), found.claim), found


def _alone_text(gains: Gains, size: Size) -> str:
    names = list(dict.fromkeys(name for name, _, _ in gains))
    lines = [
        f"{size.landscapes} landscapes a family (numbers 0 to {size.landscapes - 1}), 50 training and 50 dev cases, own luck in "
        "30% of the cases. All have the same\nproposer: another allele of one gene. Gain in points of true quality over the seed, "
        "mean with its 95% interval.\n",
    ]
    for budget in BUDGETS:
        body = ([name, *(_gain(gains, name, family, budget) for family in FAMILIES), _all(gains, name, budget)] for name in names)
        lines += [f"Budget {budget}:\n", table(("competitor", *FAMILIES, "all families"), body), ""]
    lines += ["Ours minus a peer on the same landscapes, all families, points; target: not below gepa's, above at one budget:\n"]
    pairs = [(name, peer) for name in names if name in STRATEGIES for peer in names if peer not in STRATEGIES]
    head = ("strategy", "minus", "landscapes", *(f"budget {budget}" for budget in BUDGETS))
    lines += [table(head, (_compared(gains, *pair) for pair in pairs)), "", _claims_of_peers(gains, names)]
    return "\n".join(lines)


def _compared(gains: Gains, name: str, peer: str) -> tuple[object, ...]:
    differences = [_differences(gains, name, peer, budget) for budget in BUDGETS]
    return name, peer, len(differences[0]), *map(points, differences)


def _claims_of_peers(gains: Gains, names: Sequence[str]) -> str:
    body = []
    for name in names:
        pairs = [pair for (owner, _, _), found in gains.items() if owner == name for pair in found.values()]
        worse = sum(gain < 0 for gain, _ in pairs)
        body.append((name, points([claim - gain for gain, claim in pairs]), share(worse, len(pairs))))
    head = ("competitor", "claimed minus true gain", "gives something worse than the seed")
    return "What each says of its own best, without a gate, all budgets together:\n\n" + table(head, body)


def _gain(gains: Gains, name: str, family: str, budget: int) -> str:
    return points([gain for gain, _ in gains.get((name, family, budget), {}).values()])


def _all(gains: Gains, name: str, budget: int) -> str:
    return points([gain for family in FAMILIES for gain, _ in gains.get((name, family, budget), {}).values()])


def _differences(gains: Gains, ours: str, theirs: str, budget: int) -> list[float]:
    return [
        gain - gains[theirs, family, budget][number][0]
        for family in FAMILIES
        for number, (gain, _) in gains.get((ours, family, budget), {}).items()
        if number in gains.get((theirs, family, budget), {})
    ]


def _shipped_text(found: Mapping[tuple[str, str, int], Solved], size: Size) -> str:
    columns = (
        "strategy",
        "family",
        "budget",
        "certified",
        "worse than the seed",
        "true gain of those",
        "claim minus truth",
        "canary",
        "worse than the seed",
    )
    lines = [
        f"`optimize` with its gate, which the budget pays as well: {size.landscapes} landscapes a family, up to 200 sealed cases, "
        "level .05. Targets: 0 certified\nthat are worse than the seed, claims within 2 points of the truth. A canary is not shown "
        "worse and ships nowhere by itself.\n"
        "Landscapes of one number share the luck of their sealed cases, in all families; the interval of all families together "
        f"counts\neach number once. At a budget of {FEW}, where little is certified, claims are judged on the numbers 0 to "
        f"{size.more_landscapes - 1} as well.\n",
        table(columns, (_shipped_row(key, rows) for key, rows in _with_all(found).items() if rows)),
    ]
    return "\n".join(lines)


def _with_all(found: Mapping[tuple[str, str, int], Solved]) -> dict[tuple[str, str, int], Solved]:
    """And all families together, where all are measured."""
    pooled: dict[tuple[str, str, int], Solved] = {}
    for strategy, budget in dict.fromkeys((strategy, budget) for strategy, _, budget in found):
        for more in dict.fromkeys(label.partition(" ")[2] for _, label, _ in found):
            labels = [f"{family} {more}".strip() for family in FAMILIES]
            rows = [found.get((strategy, label, budget), ()) for label in labels]
            pooled |= {(strategy, label, budget): each for label, each in zip(labels, rows, strict=True) if each and not more}
            if all(rows):
                pooled[strategy, f"all {more}".strip(), budget] = [one for each in rows for one in each]
    return pooled


def _shipped_row(key: tuple[str, str, int], rows: Solved) -> tuple[object, ...]:
    certified, canary = ([gains for _, gains, one in rows if one.verdict == verdict] for verdict in ("certified", "canary"))
    worse = [sum(gain < 0 for gain, _ in some) for some in (certified, canary)]
    gain, error = points([gain for gain, _ in certified]), points_of_groups(_errors(rows))
    return *key, f"{len(certified)} of {len(rows)}", worse[0], gain, error, len(canary), worse[1]


def _errors(rows: Solved) -> list[list[float]]:
    """Claim minus truth of what is certified, by the landscape's number."""
    groups: dict[int, list[float]] = {}
    for number, (gain, claim), one in rows:
        if one.verdict == "certified":
            groups.setdefault(number, []).append(claim - gain)
    return list(groups.values())
