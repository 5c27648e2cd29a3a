"""Who takes part: ours by name, and the peers whose environments are there."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from typing import Any

from bench.evolution.ours import Certified, SearchAlone
from bench.evolution.peer_process import PeerProcess
from bench.evolution.problems import Competitor, Found, Problem
from bench.evolution.rows import Rows, code_of

PEERS: tuple[PeerProcess, ...] = (
    PeerProcess("gepa", "gepa"),
    PeerProcess("gepa, merging", "gepa", {"merge": True}),
    PeerProcess("openevolve", "openevolve"),
    PeerProcess("dspy MIPROv2", "dspy", {"optimizer": "MIPROv2"}, part=1 / 6),
    PeerProcess("dspy GEPA", "dspy", {"optimizer": "GEPA"}, part=1 / 20),
)


@contextmanager
def ready(competitor: Competitor) -> Iterator[Competitor]:
    if isinstance(competitor, PeerProcess):
        with competitor:
            yield competitor
    else:
        yield competitor


def installed(names: Sequence[str] = ()) -> list[PeerProcess]:
    """In the order of `PEERS`; `names`: only these."""
    return [peer for peer in PEERS if peer.python.exists() and (not names or peer.name in names)]


def count_for(competitor: Competitor, count: int) -> int:
    """Problems for it where others get `count`."""
    return max(1, round(competitor.part * count)) if isinstance(competitor, PeerProcess) else count


def missing() -> list[str]:
    return [peer.name for peer in PEERS if not peer.python.exists()]


def solved(rows: Rows, competitor: Competitor, label: Sequence[object], problem: Problem) -> Found:
    """The competitor's answer to the problem that `label` names, from the rows where it is known."""
    code = (
        code_of(competitor.name.removeprefix("optimize, "))
        if isinstance(competitor, SearchAlone | Certified)
        else competitor.version
    )
    row: dict[str, Any] = rows.get(
        [competitor.name, code, *label, problem.budget, problem.number], lambda: asdict(competitor.solve(problem))
    )
    return Found(**{**row, "steps": tuple((count, best) for count, best in row["steps"])})
