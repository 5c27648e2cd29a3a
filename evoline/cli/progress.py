"""Progress on stderr: a line for each thing that happened, and what is under way: on a terminal always, elsewhere now and then."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from types import TracebackType
from typing import Self

from rich.console import Console
from rich.status import Status

from evoline.cli.output import err, plain
from evoline.sealed_gain import SealedGain
from evoline.stack.events import StackEvent
from shared.events import Fact
from shared.events.changes import ChangeApproved, ChangeQueued, ChangeVetoed, GateFinished
from shared.events.deployments import PipelineDeployed
from shared.events.generation import RequestAccepted, RequestProgressed
from shared.events.improvement import EvolutionProgressed, TemplateLearned
from shared.events.oversight import ChangesRequested, GlassConfirmed, GlassLapsed, ReviewRecorded
from shared.events.recovery import ChangeHeld
from shared.events.runs import RunFinished, RunStarted, RunSuspended
from shared.evidence.wording import chance

QUIET_SECONDS = 10.0
"""Between two lines off a terminal about what is under way."""


class Progress:
    """`quiet` prints nothing: with `--json`."""

    def __init__(self, *, quiet: bool = False, clock: Callable[[], float] = time.monotonic) -> None:
        self._quiet = quiet
        self._clock = clock
        self._told_at = clock()
        self._console: Console = err()
        self._status: Status | None = None
        self._runs = 0
        self._failed = 0
        self._text = ""
        self._busy: set[str] = set()

    def __enter__(self) -> Self:
        if not self._quiet and sys.stderr.isatty():
            self._status = self._console.status("")
            self._status.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        if self._status is not None:
            self._status.stop()

    def line(self, text: str, mark: str = " ") -> None:
        if not self._quiet:
            self._told_at = self._clock()
            self._console.print(f"{mark} {plain(text)}")

    def now(self, text: str) -> None:
        """What is under way; off a terminal a line where nothing was told for a while."""
        self._text = text
        counted = f", {self._runs} runs" + (f" ({self._failed} not ok)" if self._failed else "") if self._runs else ""
        if self._status is not None:
            self._status.update(plain(f"{text}{counted}"))
        elif text and self._clock() - self._told_at >= QUIET_SECONDS:
            self.line(f"{text}{counted}")

    def on_fact(self, fact: Fact) -> None:
        if isinstance(fact, RunFinished):
            self._runs += 1
            self._failed += fact.status != "succeeded"
            self.now(self._text or "running")
            return
        text = text_of(fact)
        if text:
            self.line(text)
            self.now(text)

    def on_event(self, event: StackEvent) -> None:
        """Of the stack's start or stop."""
        took = f" ({event.seconds:.1f} s)" if event.seconds >= 0.05 else ""
        if event.kind in {"ready", "done"} and event.name:
            self._busy.discard(event.name)
            self.line(f"{event.name:<12} {event.kind} {event.text}".rstrip() + took, "[green]✓[/green]")
        elif event.kind in {"restarting", "crashed"}:
            self.line(f"{event.name:<12} {event.text}", "[yellow]![/yellow]")
        elif event.kind == "stopped" or (event.kind == "stopping" and event.text):
            self.line(f"{event.name:<12} {event.kind} {event.text}".rstrip())
        elif event.kind in {"starting", "stopping"} and event.name:
            self._busy.add(event.name)
        self.now(f"waiting for {', '.join(sorted(self._busy))}" if self._busy else "")


def text_of(fact: Fact) -> str:
    """One line for people; empty for facts that only count."""
    match fact:
        case RequestAccepted():
            return f"accepted as pipeline {fact.pipeline}"
        case RequestProgressed():
            counted = f" ({fact.done}/{fact.total})" if fact.total else ""
            return f"{fact.stage}: {fact.text}{counted}"
        case EvolutionProgressed():
            best = f", best {fact.best.mean:.3f}" if fact.best else ""
            return f"{fact.stage}: {fact.text} ({fact.evaluations}/{fact.evaluations_budget} evaluations{best})"
        case GateFinished():
            cases = f"{fact.candidate.cases} sealed cases, p={chance(fact.p_value)}"
            return f"gate: {fact.verdict}, gain {SealedGain.of(fact.model_dump())} on {cases}"
        case _:
            return _text_of_change(fact)


def _text_of_change(fact: Fact) -> str:
    match fact:
        case ChangeApproved():
            return f"approved by {fact.approved_by}: {'; '.join(fact.reasons)}"
        case ChangeVetoed():
            return f"vetoed by {fact.vetoed_by}: {'; '.join(fact.reasons)}"
        case ChangeQueued():
            return f"waits for people ({fact.change_id}): {'; '.join(fact.reasons)}"
        case ChangeHeld():
            return f"frozen ({fact.freeze_id}): it {fact.reason}"
        case PipelineDeployed():
            return f"deployed {fact.pipeline}@{fact.digest[:12]}"
        case TemplateLearned():
            return f"template learned: {fact.template}"
        case RunStarted():
            return f"runs on {fact.executor_id}"
        case RunSuspended():
            until = f" until {fact.until}" if fact.until else ""
            return f"{fact.status}{until}{': ' + fact.reason if fact.reason else ''}"
        case _:
            return _text_of_review(fact)


def _text_of_review(fact: Fact) -> str:
    match fact:
        case ReviewRecorded():
            void = f"; void: {'; '.join(fact.voided)}" if fact.voided else ""
            return f"recorded: {fact.votes} approval(s), {fact.missing} more by people with the role {fact.role}{void}"
        case ChangesRequested():
            return f"sent back by {fact.reviewer} ({fact.change_id}): {fact.comment}"
        case GlassConfirmed():
            return f"confirmed by {fact.by}: it stays"
        case GlassLapsed():
            return f"taken back ({fact.by}): {fact.reason}"
        case _:
            return ""
