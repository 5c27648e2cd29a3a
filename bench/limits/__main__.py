"""Limits that executors share, on a real broker and simulated: `python -m bench.limits` writes bench/results/limits.md."""

from __future__ import annotations

import argparse
import asyncio
from pathlib import Path

from bench.executor.machine import machine
from bench.limits.measured import Measured, measure
from bench.limits.simulated import Simulated, simulate

RESULT = Path("bench/results/limits.md")


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--seconds", type=float, default=65.0, help="of each measured load")
    seconds = parser.parse_args().seconds
    measured = [asyncio.run(measure(flooded=flooded, seconds=seconds)) for flooded in (False, True)]
    simulated = [simulate(a_minute, share) for a_minute in (60, 600, 3000) for share in (0.3, 0.6)]
    RESULT.write_text(report(measured, simulated))
    print(RESULT.read_text())


def report(measured: list[Measured], simulated: list[Simulated]) -> str:
    lines = [
        "# Limits that executors share",
        "",
        f"`make bench-limits`; {machine()}.",
        "",
        "Three executors' permits, each with a connection of its own to one broker (`sync_interval: always`), call the provider's",
        "stand-in through the real SDK; all on one machine. Eight tenants ask for 30% of the limit together, at random; with",
        "a flood another one asks for 100 times as much as each of them. Overshoot: most requests that arrived in any 60 s,",
        "against the limit. Utilisation: requests that arrived, against what the limit allows in that time.",
        "",
        "| measured | limit a minute | requests | most in 60 s / limit | utilisation | p95 wait of the eight |",
        "|---|---|---|---|---|---|",
        *(each.row() for each in measured),
        "",
        "The same permits in virtual time, three executors, 2 ms a round trip to the broker:",
        "",
        "| limit a minute | asked by the eight | most in 60 s / limit | utilisation | p95 wait alone | with the flood |",
        "|---|---|---|---|---|---|",
        *(each.row() for each in simulated),
        "",
    ]
    return "\n".join(lines)


if __name__ == "__main__":
    main()
