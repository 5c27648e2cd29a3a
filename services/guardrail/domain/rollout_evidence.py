"""What the two arms of a rollout did, and what that shows. Pure; states are plain numbers that are stored and loaded.

Outcomes are compared in pairs: the n-th of the canary with the n-th of the control. Which outcomes meet depends on the order in
which the arms come, never on what came, so that differences may be bet on (`shared.evidence.betting`) while the share goes up.
Every number is valid at every look; `docs/rollouts.md` has the budget and what was measured. That holds for outcomes that say
something new: runs of one unit, which is always in one arm, are alike, so whoever decides is given the first one of each."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Iterable, Sequence
from typing import Any, Literal

from services.guardrail.domain.descent import Record
from shared.evidence.asymptotic import Running
from shared.evidence.betting import EProcess, Leaning, observe_all, start_test
from shared.evidence.two_arms import as_value

ALPHA_SUCCESS = 0.0275
ALPHA_QUALITY = 0.0125
ALPHA_WATCH = 0.005
ALPHA_BROKEN = 0.005
"""Chances of a false rollback, together 5% a rollout whatever is looked at how often."""
ALPHA_MARGIN = 0.05
"""Of a step up although the canary is worse by more than the margin."""
SIZING = 1e-6
"""Sizes the bets of the watch, not its level: larger bets notice a large drop earlier."""
EXPECTED = Leaning(weight=20.0, lean=0.7)
"""Of the guards: as quick as large plug-in bets where the drop is large, and quicker where it turns out small."""
MOST_WAITING = 2000
"""Outcomes of one arm that wait for the other; above, the oldest are left out."""
BROKEN = ((0.95, 0.05), (0.95, 0.3))
"""What a broken canary beside a working control looks like: (share of hard failures, the control's)."""
ENOUGH_OUTSIDE = 50
"""Runs outside of the comparison that the tripwire needs at most: at 1% they tell it early that the stable revision works."""
LOOKS_FROM = 5
"""Hard failures from which the tripwire looks; a canary of which most runs work is not broken but worse."""

Kind = Literal["run", "shadow", "quality"]
Arm = Literal["canary", "control", "outside"]


class Observation(Record):
    """One outcome, in [0, 1]. A run counts once a rollout: its id is made of both, and of the kind."""

    id: str
    rollout_id: str
    run_id: str
    unit: str = ""
    """User or session behind the run; empty where the run is its own."""
    kind: Kind = "run"
    arm: Arm
    value: float
    other: float = 0.0
    """Of a shadow: what the stable revision did on the same input."""
    is_hard: bool = False
    seconds: float = 0.0
    cost_usd: float = 0.0
    at: str = ""


class Counts(Record):
    runs: int = 0
    successes: int = 0
    hard: int = 0
    log_seconds: Running = Running()
    log_cost: Running = Running()


class PairedTests(Record):
    """Tests of the mean difference of pairs: against 0, and against each margin of the plan."""

    waiting: tuple[float, ...] = ()
    waiting_arm: Arm = "canary"
    worse: EProcess
    within: tuple[EProcess, ...] = ()
    differences: Running = Running()

    @property
    def pairs(self) -> int:
        return self.worse.past.count

    @property
    def p_worse(self) -> float:
        return math.exp(-self.worse.best_below)

    def margin_shown(self, margins: Sequence[float]) -> float | None:
        """The smallest of the margins within which it was shown to be."""
        limit = -math.log(ALPHA_MARGIN)
        shown = [margin for margin, test in zip(margins, self.within, strict=True) if test.best_above >= limit]
        return min(shown, default=None)


class Evidence(Record):
    margins: tuple[float, ...]
    canary: Counts = Counts()
    control: Counts = Counts()
    outside: Counts = Counts()
    success: PairedTests
    quality: PairedTests
    log_broken: float = 0.0
    """Largest evidence of the tripwire so far."""
    shadow_runs: int = 0

    @property
    def p_broken(self) -> float:
        return math.exp(-max(0.0, self.log_broken))

    @property
    def alarm(self) -> str:
        """Which guard says that the canary must go; empty for none."""
        if self.p_broken <= ALPHA_BROKEN:
            return "tripwire"
        if self.success.p_worse <= ALPHA_SUCCESS:
            return "success"
        return "quality" if self.quality.p_worse <= ALPHA_QUALITY else ""


def start_evidence(margins: Iterable[float]) -> Evidence:
    wanted = tuple(sorted(set(margins)))
    return Evidence(margins=wanted, success=_tests(wanted), quality=_tests(wanted))


def observed(evidence: Evidence, seen: Sequence[Observation]) -> Evidence:
    """After more outcomes, looked at after each of them. Batches of any size give the same."""
    runs = [each for each in seen if each.kind == "run"]
    shadows = [each.value - each.other for each in seen if each.kind == "shadow"]
    success = _bet(_paired(evidence.success, [each for each in runs if each.arm != "outside"]), shadows)
    quality = _paired(evidence.quality, [each for each in seen if each.kind == "quality" and each.arm != "outside"])
    return evidence.model_copy(
        update={
            **_counted(evidence, runs),
            "success": success,
            "quality": quality,
            "shadow_runs": evidence.shadow_runs + len(shadows),
        }
    )


def log_broken(canary: tuple[int, int], control: tuple[int, int]) -> float:
    """Log of the evidence that the canary is broken while the control works; each arm is (runs, hard failures).

    Likelihood of fixed alternatives over the largest one under "fails no more often than the control": above 1/alpha with
    probability at most alpha, at whatever moments one looks (Wasserman, Ramdas and Balakrishnan, PNAS 2020, 117:16880)."""
    (runs, failures), (others, other_failures) = canary, control
    against = [
        _likelihood(runs, failures, bad) + _likelihood(others, other_failures, good) - math.log(len(BROKEN)) for bad, good in BROKEN
    ]
    largest = max(against)
    alternative = largest + math.log(sum(math.exp(each - largest) for each in against))
    if failures * others <= other_failures * runs:
        return alternative - _own_best(runs, failures) - _own_best(others, other_failures)
    return alternative - _own_best(runs + others, failures + other_failures)


def _counted(evidence: Evidence, runs: Sequence[Observation]) -> dict[str, Any]:
    canary, control, outside = _Tally(evidence.canary), _Tally(evidence.control), _Tally(evidence.outside)
    tallies, best = {"canary": canary, "control": control, "outside": outside}, evidence.log_broken
    for each in runs:
        tallies[each.arm].add(each)
        if canary.hard >= LOOKS_FROM and 2 * canary.hard >= canary.runs:
            others = (control.runs + outside.runs, control.hard + outside.hard)
            best = max(best, log_broken((canary.runs, canary.hard), others))
    return {**{arm: tally.counts() for arm, tally in tallies.items()}, "log_broken": best}


class _Tally:
    """Counts while a batch is gone through."""

    def __init__(self, before: Counts) -> None:
        self.runs, self.successes, self.hard = before.runs, before.successes, before.hard
        self._seconds, self._cost = before.log_seconds, before.log_cost

    def add(self, each: Observation) -> None:
        self.runs += 1
        self.successes += each.value >= 1.0
        self.hard += each.is_hard
        if each.value >= 1.0 and each.seconds > 0:
            self._seconds = self._seconds.then(math.log(each.seconds))
        if each.value >= 1.0 and each.cost_usd > 0:
            self._cost = self._cost.then(math.log(each.cost_usd))

    def counts(self) -> Counts:
        return Counts(runs=self.runs, successes=self.successes, hard=self.hard, log_seconds=self._seconds, log_cost=self._cost)


def _tests(margins: Sequence[float]) -> PairedTests:
    within = tuple(start_test(as_value(-margin), ALPHA_MARGIN) for margin in margins)
    return PairedTests(worse=start_test(as_value(0.0), SIZING, EXPECTED), within=within)


def _paired(tests: PairedTests, seen: Sequence[Observation]) -> PairedTests:
    waiting, arm, differences = deque(tests.waiting), tests.waiting_arm, []
    for each in seen:
        if waiting and each.arm != arm:
            former = waiting.popleft()
            differences.append(each.value - former if each.arm == "canary" else former - each.value)
        else:
            arm = each.arm
            waiting.append(each.value)
            if len(waiting) > MOST_WAITING:
                waiting.popleft()
    return _bet(tests.model_copy(update={"waiting": tuple(waiting), "waiting_arm": arm}), differences)


def _bet(tests: PairedTests, differences: Sequence[float]) -> PairedTests:
    values = [as_value(each) for each in differences]
    if not values:
        return tests
    update = {
        "worse": observe_all(tests.worse, values),
        "within": tuple(observe_all(each, values) for each in tests.within),
        "differences": tests.differences.then_all(differences),
    }
    return tests.model_copy(update=update)


def _likelihood(runs: int, failures: int, chance: float) -> float:
    return failures * math.log(chance) + (runs - failures) * math.log1p(-chance)


def _own_best(runs: int, failures: int) -> float:
    """Log likelihood under the share that was seen."""
    return 0.0 if failures in (0, runs) else _likelihood(runs, failures, failures / runs)
