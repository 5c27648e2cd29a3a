"""One search in library mode as a process that may be killed: `python -m bench.evolution.killed_search FOLDER STRATEGY WORKERS`.

Every call of the scorer leaves a line in FOLDER/calls at its beginning and one at its end; the outcome is FOLDER/outcome.json."""

from __future__ import annotations

import hashlib
import json
import os
import sys
import time
from pathlib import Path
from typing import Any

from bench.evolution.planted import ALLELES, NAMES, SEED, additive
from evoline import optimize

BUDGET = 240
CALL_SECONDS = 0.002
LANDSCAPE = 7


def main(folder: Path, strategy: str, workers: int) -> None:
    landscape = additive(LANDSCAPE)
    calls = os.open(folder / "calls", os.O_WRONLY | os.O_APPEND | os.O_CREAT)

    def evaluate(candidate: dict[str, str], case: dict[str, str]) -> tuple[float, str]:
        mark = f"{hashlib.sha256(json.dumps(candidate, sort_keys=True).encode()).hexdigest()[:16]} {case['id']}"
        os.write(calls, f"begin {mark}\n".encode())
        time.sleep(CALL_SECONDS)
        score = landscape.score(candidate, case["id"])
        os.write(calls, f"end {mark}\n".encode())
        return score, ""

    train, dev, sealed = ([{"id": f"{split}-{number:05d}"} for number in range(size)] for split, size in SIZES)
    outcome = optimize(
        SEED, evaluate, train, dev, sealed, BUDGET, 11,
        strategy=strategy, proposer=propose, workers=workers, journal=folder / "journal",
    )  # fmt: skip
    told: dict[str, Any] = {
        "archive_hash": outcome.evidence.archive_hash,
        "best": dict(outcome.best),
        "verdict": outcome.verdict,
        "claim": outcome.claim,
        "spent": dict(outcome.evidence.spent),
        "proposals": dict(outcome.evidence.proposals),
    }
    (folder / "outcome.tmp").write_text(json.dumps(told))
    (folder / "outcome.tmp").replace(folder / "outcome.json")


SIZES = (("train", 30), ("dev", 60), ("sealed", 40))


def propose(parent: dict[str, str], feedback: list[dict[str, Any]]) -> dict[str, str]:
    """Another allele for one gene: the same for the same question, as a model is at temperature 0."""
    draw = hashlib.sha256(json.dumps([parent, [row["case"]["id"] for row in feedback]], sort_keys=True).encode()).digest()
    return {**parent, NAMES[draw[0] % len(NAMES)]: str(draw[1] % ALLELES)}


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2], int(sys.argv[3]))
