"""The benchmark of the executor measures what it says, with tiny numbers; how fast is not asserted."""

from __future__ import annotations

from pathlib import Path

import pytest

import bench.executor.__main__ as bench
from bench.executor.evoline_client import EVOLINE
from bench.executor.flight import CALLS, IDEAL_SECONDS
from bench.executor.loads import QUICK
from bench.executor.peer_engine import PEERS
from bench.executor.report import report


@pytest.mark.alone
@pytest.mark.timeout(180)
async def test_every_table_is_measured_and_peers_that_cannot_start_are_told_in_it(tmp_path: Path) -> None:
    results = await bench.measure(QUICK, bench.TABLES, PEERS, tmp_path, "test")
    assert results.steps is not None
    assert results.rates is not None
    assert results.starts is not None
    assert results.flights is not None
    for compared in (results.steps, results.rates):
        assert {name: len(rounds) for name, rounds in compared.measured.items()} == {EVOLINE: QUICK.rounds}
        assert set(compared.failed) == {peer.name for peer in PEERS}
    assert all(each.run > each.step > 0 for each in results.steps.measured[EVOLINE])
    expected = QUICK.start_rounds * QUICK.starts
    assert [len(seconds) for seconds in (results.starts.idle, results.starts.crowded)] == [expected, expected]
    assert min(results.starts.idle + results.starts.crowded) > 0
    (called,), (waited,), (bare,) = results.flights.called, results.flights.waited, results.flights.bare
    assert called.served == CALLS * (QUICK.flight_runs + 1), "each run's calls once, and those of the run that warms up"
    assert min(called.seconds, waited.seconds, bare) >= IDEAL_SECONDS
    assert results.flights.patient[0].seconds >= CALLS * QUICK.patient_call_seconds
    assert called.peak_memory > waited.peak_memory > 10_000_000
    text = report(results)
    assert [line for line in text.splitlines() if line.startswith("## ")] == [
        "## 1. A durable step",
        "## 2. Short runs, 32 at once",
        "## 3. From the command to the first step",
        f"## 4. {QUICK.flight_runs} runs in flight in one executor",
    ]
    assert text.count("not measured: no environment in") == 2 * len(PEERS)
    table_rows = [line for line in text.splitlines() if line.startswith("| ")]
    assert {row.count("|") for row in table_rows} == {5, 6, 7}
