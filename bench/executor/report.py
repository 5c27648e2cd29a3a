"""The result as Markdown."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from statistics import median

from bench.executor.engines_compared import StepRound
from bench.executor.evoline_client import EVOLINE
from bench.executor.flight import CALL_SECONDS, CALLS, IDEAL_SECONDS, SHARING_SLOTS, Flight, Flights, Sharing
from bench.executor.intervals import Estimate, estimate, percentile, ratios
from bench.executor.loads import AT_ONCE, LONG, SHORT, Plan
from bench.executor.rounds import Compared
from bench.executor.starts import SLOTS, STUCK, Starts
from bench.executor.words import DURABILITY, FAIRNESS, FLIGHT_BOUND


@dataclass
class Results:
    plan: Plan
    command: str
    date: str
    machine: str = ""
    versions: str = ""
    load: tuple[float, float] = (0.0, 0.0)
    """Of the machine, at the beginning and at the end."""
    steps: Compared[StepRound] | None = None
    rates: Compared[float] | None = None
    starts: Starts | None = None
    flights: Flights | None = None
    notes: list[str] = field(default_factory=list)


def report(results: Results) -> str:
    lines = ["# The executor beside its peers", "", *_head(results)]
    lines += _steps(results.steps) if results.steps else []
    lines += _rates(results.rates) if results.rates else []
    lines += _starts(results.starts) if results.starts else []
    lines += _flights(results.flights, results.plan) if results.flights else []
    return "\n".join(lines)


def _head(results: Results) -> list[str]:
    return [
        f"`{results.command}`, {results.date}. {results.machine}; load {results.load[0]:.1f} at the beginning, "
        f"{results.load[1]:.1f} at the end.",
        "",
        f"{results.versions}.",
        "",
        DURABILITY,
    ]


def _steps(compared: Compared[StepRound]) -> list[str]:
    rows = []
    ours = compared.measured[EVOLINE]
    for name, rounds in compared.measured.items():
        # Rounds are in step: an engine that fails is taken out whole.
        ratio = _ratio(name, ratios([each.step for each in rounds], [each.step for each in ours]))
        step, run = estimate([1000 * each.step for each in rounds]), estimate([1000 * each.run for each in rounds])
        rows.append(f"| {name} | {step.text(2)} | {ratio} | {run.text(1)} | {len(rounds)} |")
    return [
        "## 1. A durable step",
        "",
        "No-op steps one after another, one run at a time, each acknowledged by the journal before the next begins. Milliseconds;",
        f"a step is (median run of {LONG} steps - median run of {SHORT}) / {LONG - SHORT} of a round. Medians of rounds with 95%",
        "bootstrap intervals; ratios are taken round by round, above 1 means that Evoline is faster.",
        "",
        f"| engine | a step | ratio to Evoline | run of {SHORT} steps, start to result | rounds |",
        "|---|---|---|---|---|",
        *rows,
        *_failures(compared, 5),
        "",
        FAIRNESS,
    ]


def _rates(compared: Compared[float]) -> list[str]:
    ours = compared.measured[EVOLINE]
    rows = [
        f"| {name} | {estimate(rounds).text(0)} | {_ratio(name, ratios(ours, rounds))} | {len(rounds)} |"
        for name, rounds in compared.measured.items()
    ]
    return [
        f"## 2. Short runs, {AT_ONCE} at once",
        "",
        f"Runs of {SHORT} no-op steps a second, start to result, {AT_ONCE} always under way.",
        "",
        "| engine | runs a second | ratio of Evoline to it | rounds |",
        "|---|---|---|---|",
        *rows,
        *_failures(compared, 4),
        "",
    ]


def _ratio(name: str, values: Sequence[float]) -> str:
    return "1" if name == EVOLINE else estimate(values).text(2)


def _failures(compared: Compared[StepRound] | Compared[float], columns: int) -> list[str]:
    return [f"| {name} | not measured: {_cell(reason)} {'| - ' * (columns - 2)}|" for name, reason in compared.failed.items()]


def _cell(text: str) -> str:
    return " ".join(text.replace("|", "/").split())[:300]


def _starts(starts: Starts) -> list[str]:
    return [
        "## 3. From the command to the first step",
        "",
        "Milliseconds from just before a command is encoded to the moment in the journal's first line: the first step has ended",
        f"then, a no-op. Runs of {SHORT} steps one after another. Crowded: {STUCK} of {SLOTS} places of the executor hold runs",
        "that wait for a provider.",
        "",
        "| executor | p50 | p99 | most | n | goal |",
        "|---|---|---|---|---|---|",
        _start_row("idle", starts.idle, "p50 10, p99 60"),
        _start_row("crowded", starts.crowded, "p99 100"),
        "",
    ]


def _start_row(name: str, seconds: Sequence[float], goal: str) -> str:
    shown = (median(seconds), percentile(seconds, 99), max(seconds))
    return f"| {name} | {' | '.join(f'{1000 * value:.1f}' for value in shown)} | {len(seconds)} | {goal} |"


def _flights(flights: Flights, plan: Plan) -> list[str]:
    called = [flight.seconds for flight in flights.called]
    return [
        f"## 4. {plan.flight_runs:,} runs in flight in one executor",
        "",
        f"Each of {CALLS} provider calls of {CALL_SECONDS:g} s, one after another; all published at once. The ideal is",
        f"{IDEAL_SECONDS:g} s, in the last row {CALLS * plan.patient_call_seconds:g} s. Goal: 1.15 of ideal, under 300 MB.",
        "",
        "| what | makespan, s | of ideal | executor's processor, s | resident at most, MB |",
        "|---|---|---|---|---|",
        f"| bare: the same {CALLS * plan.flight_runs:,} calls through the SDK, no Evoline | {estimate(flights.bare).text(1)} "
        f"| {_of_ideal(flights.bare)} | - | - |",
        _flight_row("Evoline, real SDK against the stand-in", flights.called),
        _flight_row("Evoline, a model that only waits", flights.waited),
        _flight_row(f"Evoline, real SDK, calls of {plan.patient_call_seconds:g} s", flights.patient, plan.patient_call_seconds),
        "",
        f"Evoline to bare: {estimate(ratios(called, flights.bare)).text(2)}, {len(called)} rounds.",
        "",
        FLIGHT_BOUND,
        f"A second executor, {SHARING_SLOTS} places each, {plan.sharing_runs} of these runs: {_sharing(flights.sharing)}",
        "",
    ]


def _flight_row(name: str, flights: Sequence[Flight], call_seconds: float = CALL_SECONDS) -> str:
    seconds = [flight.seconds for flight in flights]
    cpu = estimate([flight.cpu_seconds for flight in flights])
    memory = max(flight.peak_memory for flight in flights) / 1e6
    return f"| {name} | {estimate(seconds).text(1)} | {_of_ideal(seconds, call_seconds)} | {cpu.text(1)} | {memory:.0f} |"


def _of_ideal(seconds: Sequence[float], call_seconds: float = CALL_SECONDS) -> str:
    return f"{median(seconds) / (CALLS * call_seconds):.2f}"


def _sharing(sharing: Sequence[Sharing]) -> str:
    ratio: Estimate = estimate(ratios([each.one for each in sharing], [each.two for each in sharing]))
    busy = [100 * median(values) for values in ([each.busy_one for each in sharing], [each.busy_two for each in sharing])]
    return (
        f"**{ratio.text(2)} times** the throughput (goal 1.9). So many places that waiting bounds the work and not the processor: "
        f"one executor kept {busy[0]:.0f}% of a core busy, both together {busy[1]:.0f}%."
    )
