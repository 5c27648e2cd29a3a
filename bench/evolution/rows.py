"""What a part of the benchmark has measured, kept row by row, so that an interrupted one goes on where it stopped."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, TypeVar

T = TypeVar("T")

ROOT = Path(__file__).resolve().parents[2]
FOLDER = ROOT / ".bench" / "evolution"
_ALWAYS = (
    "bench/evolution/ours.py",
    "bench/evolution/planted.py",
    "bench/evolution/problems.py",
    "evoline/optimization/measuring.py",
    "evoline/optimization/menus.py",
    "evoline/optimization/optimizing.py",
    "evoline/optimization/task.py",
    "shared/evidence/paired.py",
    "shared/evidence/selection.py",
    "shared/evidence/verdicts.py",
    "shared/evidence/scores.py",
    "shared/search/candidates.py",
    "shared/search/menu.py",
    "shared/search/objectives.py",
    "shared/search/plan.py",
    "shared/search/strategies/finalists.py",
    "shared/search/text_operators.py",
    "shared/search/trade_offs.py",
    "shared/search/watching.py",
)
_OF_STRATEGY = {
    "climb": ("climb.py", "bandit.py"),
    "guided": ("guided.py", "surrogate.py", "../traits.py"),
    "genetic": ("genetic.py", "breeding.py", "islands.py", "racing.py", "../fitness.py", "../genome.py", "../novelty.py"),
    "best_of": ("best_of.py",),
}


class NotMeasuredError(Exception):
    """The row is not known, and nothing is to be measured now."""


class Rows:
    """Rows by key, in a file of lines; a line that a kill cut off is measured again."""

    def __init__(self, part: str, folder: Path = FOLDER, *, only_known: bool = False) -> None:
        self._only_known = only_known
        folder.mkdir(parents=True, exist_ok=True)
        self._path = folder / f"{part}.jsonl"
        self._known: dict[str, Any] = {}
        whole = b""
        if self._path.exists():
            content = self._path.read_bytes()
            whole = content[: content.rfind(b"\n") + 1]
            self._path.write_bytes(whole)
        for line in whole.splitlines():
            key, row = json.loads(line)
            self._known[key] = row

    def get(self, key: Sequence[object], measure: Callable[[], Any]) -> Any:
        """The row of `key`, measured and kept where it is not known. Rows are JSON."""
        name = json.dumps(key)
        if name not in self._known:
            if self._only_known:
                raise NotMeasuredError(name)
            self._known[name] = measure()
            with self._path.open("ab") as file:
                file.write(json.dumps([name, self._known[name]]).encode() + b"\n")
        return self._known[name]


def so_far(measured: Iterable[T]) -> list[T]:
    """Those that are known; all of them where everything is measured."""
    found: list[T] = []
    with suppress(NotMeasuredError):
        for one in measured:
            found.append(one)  # noqa: PERF402  what came before the end is kept
    return found


def code_of(strategy: str) -> str:
    """8 hex digits over the code that an own search runs: rows of other code are not reused."""
    names = [*_ALWAYS, *(f"shared/search/strategies/{name}" for name in _OF_STRATEGY[strategy])]
    digest = hashlib.sha256()
    for name in names:
        digest.update((ROOT / name).read_bytes())
    return digest.hexdigest()[:8]
