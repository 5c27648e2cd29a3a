"""Searches killed with SIGKILL at random moments and begun again, beside one that nobody killed.

`python -m bench.evolution.kills` kills 50 times and writes bench/results/evolution_resume.md."""

from __future__ import annotations

import argparse
import itertools
import json
import os
import platform
import random
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from bench.evolution.killed_search import BUDGET, LANDSCAPE

RESULTS = Path(__file__).parents[1] / "results" / "evolution_resume.md"
STRATEGIES = ("climb", "genetic", "guided", "best_of")
_START_SECONDS = 1.5
"""About what a process needs before its first evaluation."""
_EARLY = 0.15
"""Share of kills that fall so soon."""
_PATIENCE_SECONDS = 300.0


@dataclass(frozen=True)
class Trial:
    """One search that was killed and then ended."""

    strategy: str
    workers: int
    at_calls: tuple[int, ...]
    """Calls of the scorer begun when each kill fell; 0: before the first."""
    same: bool
    """Whether the whole outcome, the archive's hash in it, is that of the search that nobody killed."""
    over_budget: int
    """Evaluations counted beyond the budget."""
    counted_twice: int
    """(candidate, case) that stand twice in the journal."""
    paid_again: int
    """Calls that were made again although their answer was in the journal."""
    cut: int
    """Calls whose answer a kill kept from the journal: made again, counted once."""


@dataclass(frozen=True)
class Moment:
    """When to kill: after a share of the calls, or, where it is `early`, so long after the start."""

    share: float
    early: bool

    def wait(self, process: subprocess.Popen[bytes], folder: Path, total: int) -> None:
        if self.early:
            time.sleep(self.share * _START_SECONDS)
            return
        wanted, patience = max(1, round(self.share * (total - 1))), time.monotonic() + _PATIENCE_SECONDS
        while process.poll() is None and len(lines(folder, "begin")) < wanted and time.monotonic() < patience:
            time.sleep(0.001)
        time.sleep(self.share * 0.004)


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--kills", type=int, default=50)
    parser.add_argument("--number", type=int, default=1, help="seeds the moments")
    arguments = parser.parse_args()
    began = time.monotonic()
    trials = list(run(arguments.kills, arguments.number))
    RESULTS.write_text(report(trials, arguments.number, time.monotonic() - began), encoding="utf-8")
    print(RESULTS.read_text(encoding="utf-8"))


def run(
    kills: int, number: int, strategies: tuple[str, ...] = STRATEGIES, rhythm: tuple[int, ...] = (1, 1, 1, 3)
) -> Iterator[Trial]:
    """So many kills, spread over strategies and 1 and 4 workers; `rhythm`: how often one search after the other is killed."""
    draw = random.Random(number)
    kinds = itertools.cycle(itertools.product(strategies, (1, 4)))
    whole: dict[str, Path] = {}
    left = kills
    with tempfile.TemporaryDirectory() as root:
        for index, (strategy, workers) in enumerate(kinds):
            if left <= 0:
                return
            if strategy not in whole:
                whole[strategy] = _uninterrupted(Path(root) / strategy, strategy)
            moments = [Moment(draw.random(), draw.random() < _EARLY) for _ in range(min(left, rhythm[index % len(rhythm)]))]
            trial = _killed(Path(root) / f"{index}", whole[strategy], strategy, workers, moments)
            print(f"{left:3} left {trial}", file=sys.stderr, flush=True)
            left -= len(trial.at_calls)
            yield trial


def _uninterrupted(folder: Path, strategy: str) -> Path:
    """The search that nobody kills, with one worker."""
    folder.mkdir()
    _end(_start(folder, strategy, 1))
    return folder


def _killed(folder: Path, whole: Path, strategy: str, workers: int, moments: list[Moment]) -> Trial:
    folder.mkdir()
    total = len(lines(whole, "begin"))
    kept_at: list[tuple[frozenset[str], int]] = []
    for moment in sorted(moments, key=lambda one: one.share):
        process = _start(folder, strategy, workers)
        moment.wait(process, folder, total)
        was_running = process.poll() is None
        process.send_signal(signal.SIGKILL)
        process.communicate()
        if was_running:  # one that ended before is no kill
            kept_at.append((frozenset(kept(folder)), len(lines(folder, "begin"))))
    _end(_start(folder, strategy, workers))
    calls, journal = lines(folder, "begin"), Counter(kept(folder))
    told, wanted = (json.loads((each / "outcome.json").read_text()) for each in (folder, whole))
    return Trial(
        strategy=strategy,
        workers=workers,
        at_calls=tuple(count for _, count in kept_at),
        same=told == wanted,
        over_budget=max(0, sum(told["spent"].values()) - BUDGET, journal.total() - BUDGET),
        counted_twice=journal.total() - len(journal),
        paid_again=sum(mark in known for known, count in kept_at for mark in calls[count:]),
        cut=len(calls) - len(set(calls)),
    )


def lines(folder: Path, kind: str) -> list[str]:
    """Calls that began, or ended, in their order."""
    file = folder / "calls"
    found = file.read_text().splitlines() if file.exists() else []
    return [line.removeprefix(f"{kind} ") for line in found if line.startswith(f"{kind} ")]


def kept(folder: Path) -> list[str]:
    """Evaluations in the journal, written as calls are; a line that was cut is none."""
    content = (folder / "journal").read_bytes() if (folder / "journal").exists() else b""
    rows = [json.loads(line) for line in content[: content.rfind(b"\n") + 1].splitlines()[1:]]
    keys = [str(key) for key, _ in rows if not str(key).startswith("proposal:")]
    return [f"{digest[:16]} {case}" for digest, _, case in (key.partition(":") for key in keys)]


def _start(folder: Path, strategy: str, workers: int) -> subprocess.Popen[bytes]:
    line = [sys.executable, "-m", "bench.evolution.killed_search", str(folder), strategy, str(workers)]
    return subprocess.Popen(line, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)


def _end(process: subprocess.Popen[bytes]) -> None:
    _, errors = process.communicate(timeout=_PATIENCE_SECONDS)
    if process.returncode:
        raise RuntimeError(f"the search failed: {errors.decode()[-2000:]}")


def report(trials: list[Trial], number: int, seconds: float) -> str:
    kills = sum(len(trial.at_calls) for trial in trials)
    same = sum(len(trial.at_calls) for trial in trials if trial.same)
    cuts, most = sum(trial.cut for trial in trials), max((trial.workers for trial in trials), default=1)
    early = sum(count == 0 for trial in trials for count in trial.at_calls)
    rows = "\n".join(_row(strategy, [each for each in trials if each.strategy == strategy]) for strategy in STRATEGIES)
    command = f"`python -m bench.evolution.kills --kills {kills} --number {number}`"
    machine = f"{platform.machine()}, {os.cpu_count()} busy cores, Python {platform.python_version()}, {seconds:.0f} s"
    return f"""# Searches killed and begun again

{command}, {machine}.

Library mode with a journal, a process of its own for each start, SIGKILL at random moments ({early} before the first
evaluation, the others after 1 to all but one of them, mostly in the middle of a call), then the same call again. Additive
planted landscape {LANDSCAPE}, budget {BUDGET}, 1 and 4 workers; the search that nobody killed ran with 1 worker, so that
4 workers are shown to come to the same. What is compared is the whole outcome: archive's hash, best, verdict, claim, calls
by stage, answers of the proposer.

| | |
|---|---|
| ended as the search that nobody killed | {same} of {kills} kills |
| evaluations over the budget | {sum(trial.over_budget for trial in trials)} |
| evaluations counted twice | {sum(trial.counted_twice for trial in trials)} |
| calls made again although their answer was kept | {sum(trial.paid_again for trial in trials)} |
| calls whose answer a kill cut off: made again, counted once | {cuts} (at most {most} a kill: one a worker) |

| strategy | kills | same outcome | with 1 worker | with 4 workers | killed after so many evaluations |
|---|---|---|---|---|---|
{rows}
"""


def _row(strategy: str, trials: list[Trial]) -> str:
    kills = sum(len(trial.at_calls) for trial in trials)
    same = sum(len(trial.at_calls) for trial in trials if trial.same)
    split = [sum(len(trial.at_calls) for trial in trials if trial.workers == workers) for workers in (1, 4)]
    moments = ", ".join(str(count) for trial in trials for count in trial.at_calls)
    return f"| {strategy} | {kills} | {same} | {split[0]} | {split[1]} | {moments} |"


if __name__ == "__main__":
    main()
