"""A search is the same in every process, whatever order Python's sets have in it."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from shared.search.strategies import STRATEGIES

ROOT = Path(__file__).parents[3]


def test_archives_are_the_same_in_processes_with_other_hash_seeds() -> None:
    one, two = (outcomes(hash_seed) for hash_seed in ("1", "2"))
    assert one == two
    assert [line.split()[0] for line in one] == sorted(STRATEGIES)
    assert all(int(line.split()[2]) > 3 for line in one)  # each of them tried something


def outcomes(hash_seed: str) -> list[str]:
    command = [sys.executable, "-m", "tests.fakes.hash_seeded"]
    process = subprocess.run(
        command, env={**os.environ, "PYTHONHASHSEED": hash_seed}, cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert process.returncode == 0, process.stderr
    return process.stdout.splitlines()
