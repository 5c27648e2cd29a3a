"""A search while it runs: on a terminal a view that is drawn anew, elsewhere a line for whatever is worth one."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from types import TracebackType
from typing import Self

from rich.console import Console, RenderableType
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table

from evoline.cli.output import err, plain
from evoline.cli.progress import QUIET_SECONDS, text_of
from shared.events import Fact
from shared.events.improvement import EvolutionFinished, EvolutionProgressed
from shared.events.runs import RunFinished
from shared.events.values import Score

STAGES = {"scope": "asking for leave", "seed": "measuring the stable revision", "search": "searching"}
STAGES |= {"finalists": "comparing finalists on fresh cases", "gate": "sealed test and policy"}


@dataclass
class EvolutionState:
    """What the facts told, and when."""

    title: str
    latest: EvolutionProgressed | None = None
    seed: Score | None = None
    heard_at: float = 0.0
    sealed_runs: int = 0

    def hear(self, fact: EvolutionProgressed, now: float) -> None:
        self.latest, self.heard_at = fact, now
        if fact.stage == "seed" and fact.best is not None:
            self.seed = fact.best

    def rows(self, now: float) -> Iterator[tuple[str, str]]:
        """Names and texts; `now` on the clock of `hear`."""
        fact = self.latest
        if fact is None:
            yield "stage", "waiting for the evolution service"
            return
        yield "stage", STAGES[fact.stage]
        yield "generation", _generation(fact)
        yield "best so far", _best(fact.best, self.seed)
        yield "candidates", _candidates(fact)
        yield "accepted", f"{fact.operator}: {fact.change}".strip(": ") if fact.operator else "nothing yet"
        yield "elapsed", duration(fact.elapsed_seconds + now - self.heard_at)
        yield "ends", self._end(fact, now)

    def _end(self, fact: EvolutionProgressed, now: float) -> str:
        if fact.stage == "gate":
            return f"when the sealed cases are measured ({self.sealed_runs} runs seen) and the policy has decided"
        if fact.seconds_left is None:
            return "too little has run to tell"
        left = max(0.0, fact.seconds_left - (now - self.heard_at))
        at = datetime.now().astimezone() + timedelta(seconds=left)
        return f"search by about {at:%H:%M:%S}, in {duration(left)} at most"


class EvolutionView:
    """`quiet` shows nothing: with `--json`."""

    def __init__(self, title: str, *, quiet: bool = False, console: Console | None = None) -> None:
        self._console = console or err()
        self._quiet = quiet
        self.state = EvolutionState(title)
        self._live: Live | None = None
        self._told: tuple[object, ...] = ()
        self._told_at = -QUIET_SECONDS

    def __enter__(self) -> Self:
        if not self._quiet and self._console.is_terminal and sys.stderr.isatty():
            self._live = Live(console=self._console, get_renderable=self._picture, refresh_per_second=4, transient=False)
            self._live.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.stop()

    def stop(self) -> None:
        """What is printed from now on stands below the view."""
        if self._live is not None:
            self._live.stop()

    def title(self, text: str) -> None:
        """Told before anything else: by its id a search is stopped and looked at."""
        self.state.title = text
        if self._live is None:
            self.line(text)

    def line(self, text: str) -> None:
        if not self._quiet:
            self.say(f"  {text}")

    def say(self, text: str) -> None:
        """Also where it is quiet."""
        self._console.print(plain(text))

    def on_fact(self, fact: Fact) -> None:
        if isinstance(fact, EvolutionProgressed):
            self.state.hear(fact, time.monotonic())
            if self._live is None and self._is_worth_a_line(fact, time.monotonic()):
                self.line(line_of(fact))
        elif isinstance(fact, RunFinished):
            self._count(fact, time.monotonic())
        elif not isinstance(fact, EvolutionFinished) and (text := text_of(fact)):
            self.line(text)

    def _count(self, run: RunFinished, now: float) -> None:
        if run.purpose != "gate":
            return
        self.state.sealed_runs += 1
        if self._live is None and now - self._told_at >= QUIET_SECONDS:
            self._told_at = now
            self.line(f"gate: {self.state.sealed_runs} runs on sealed cases")

    def _is_worth_a_line(self, fact: EvolutionProgressed, now: float) -> bool:
        told = (fact.stage, fact.generation, fact.operator, fact.change)
        if told == self._told and now - self._told_at < QUIET_SECONDS:
            return False
        self._told, self._told_at = told, now
        return True

    def _picture(self) -> RenderableType:
        return picture(self.state, time.monotonic())


def picture(state: EvolutionState, now: float) -> RenderableType:
    table = Table.grid(padding=(0, 2))
    table.add_column(style="bold", no_wrap=True)
    table.add_column(overflow="fold")
    table.add_row("evolution", plain(state.title))
    for name, text in state.rows(now):
        table.add_row(name, plain(text))
        if name == "stage" and state.latest is not None:
            table.add_row("evaluations", _bar(state.latest))
    return table


def _bar(fact: EvolutionProgressed) -> RenderableType:
    bar = Table.grid(padding=(0, 2))
    bar.add_row(ProgressBar(total=fact.evaluations_budget, completed=fact.done, width=30), spent_text(fact))
    return bar


def spent_text(fact: EvolutionProgressed) -> str:
    under_way = f", {fact.evaluations - fact.done} under way" if fact.evaluations > fact.done > 0 else ""
    return f"{fact.evaluations} of {fact.evaluations_budget} spent{under_way}"


def line_of(fact: EvolutionProgressed) -> str:
    """One line for people."""
    is_counted = fact.stage == "search" or fact.text.endswith(" evaluations")
    parts = [f"{fact.stage}: {spent_text(fact) if is_counted else fact.text}"]
    if fact.generation:
        parts.append(f"generation {_generation(fact)}")
    if fact.best:
        parts.append(f"best {fact.best.mean:.3f} [{fact.best.low:.3f}, {fact.best.high:.3f}]")
    if fact.operator:
        parts.append(f"accepted {fact.operator}")
    if fact.seconds_left is not None and fact.stage == "search":
        parts.append(f"at most {duration(fact.seconds_left)} left")
    return ", ".join(parts)


def duration(seconds: float) -> str:
    whole = max(0, round(seconds))
    if whole < 60:
        return f"{whole} s"
    minutes, rest = divmod(whole, 60)
    return f"{minutes} min {rest:02d} s" if minutes < 60 else f"{minutes // 60} h {minutes % 60:02d} min"


def _generation(fact: EvolutionProgressed) -> str:
    if not fact.generation:
        return "this strategy has none"
    return f"{fact.generation} of {fact.generations}" if fact.generations else str(fact.generation)


def _best(best: Score | None, seed: Score | None) -> str:
    if best is None:
        return "nothing measured yet"
    beside = f"; stable revision {seed.mean:.3f} on its first {seed.cases}" if seed else ""
    return f"{best.mean:.3f} [{best.low:.3f}, {best.high:.3f}] on {best.cases} cases{beside}"


def _candidates(fact: EvolutionProgressed) -> str:
    front = f", {fact.front} on the front that no other beats in everything" if fact.front else ""
    return f"{fact.candidates} measured{front}"
