"""Measures the executor beside its peers: `make bench-executor`, or `python -m bench.executor [options]`.

Without options it writes `bench/results/executor.md`; any option that leaves something out only prints."""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import os
import shlex
import sys
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

from bench.executor.engines_compared import compare_rates, compare_steps, warm_up
from bench.executor.evoline_client import EvolineEngine, client_of, no_ops
from bench.executor.evoline_stack import Stack, evoline_stack
from bench.executor.flight import CALL_SECONDS, CALLING_RUN, measure_flights
from bench.executor.loads import AT_ONCE, FULL, LONG, QUICK, SHORT, Engine, EngineFailedError, Plan
from bench.executor.machine import machine, versions
from bench.executor.peer_engine import PEERS, Peer, started
from bench.executor.report import Results, report
from bench.executor.rounds import progress
from bench.executor.standin_process import standin_process
from bench.executor.starts import STUCK_RUN, measure_starts

TABLES = ("steps", "rates", "starts", "flight")
RESULT = Path(__file__).parents[1] / "results" / "executor.md"
PEERS_ENVIRONMENT = Path(".venv-bench")


async def measure(plan: Plan, tables: Sequence[str], peers: Sequence[Peer], environment: Path, command: str) -> Results:
    results = Results(plan, command, f"{datetime.now(UTC):%Y-%m-%d}", machine=machine())
    load = os.getloadavg()[0]
    async with evoline_stack(no_ops(SHORT), no_ops(LONG), STUCK_RUN, CALLING_RUN) as stack:
        if {"steps", "rates"} & set(tables):
            await _compare(stack, results, tables, peers, environment)
        if {"starts", "flight"} & set(tables):
            async with client_of(stack.nats_url) as client, standin_process(CALL_SECONDS) as standin:
                if "starts" in tables:
                    results.starts = await measure_starts(stack, client, standin, plan)
                if "flight" in tables:
                    results.flights = await measure_flights(stack, client, standin, plan)
    results.load = (load, os.getloadavg()[0])
    return results


async def _compare(stack: Stack, results: Results, tables: Sequence[str], peers: Sequence[Peer], environment: Path) -> None:
    plan = results.plan
    failed: dict[str, str] = {}
    found: dict[str, str] = {}
    async with contextlib.AsyncExitStack() as running:
        await running.enter_async_context(stack.executor(AT_ONCE))
        engines: list[Engine] = [EvolineEngine(await running.enter_async_context(client_of(stack.nats_url)))]
        await warm_up(engines[0], plan)
        for peer in peers:
            try:
                engine = await running.enter_async_context(started(peer, environment))
                await warm_up(engine, plan)
            except EngineFailedError as error:
                failed[peer.name] = str(error)
                progress(f"{peer.name} is not measured: {error}")
            else:
                engines.append(engine)
                found |= engine.versions
        results.versions = versions(found)
        if "steps" in tables:
            results.steps = await compare_steps(engines, plan)
            results.steps.failed |= failed
        if "rates" in tables:
            results.rates = await compare_rates(engines, plan)
            results.rates.failed |= failed


def arguments(words: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m bench.executor", description=__doc__)
    parser.add_argument("--only", action="append", choices=TABLES, help="one table; again for more")
    parser.add_argument("--rounds", type=int, help="of tables 1 and 2; the others take at most as many")
    parser.add_argument("--quick", action="store_true", help="tiny numbers, to see that it works")
    parser.add_argument("--no-peers", action="store_true", help="Evoline alone")
    parser.add_argument("--peers-env", type=Path, default=PEERS_ENVIRONMENT, help="the peers' environment")
    return parser.parse_args(words)


def plan_of(options: argparse.Namespace) -> Plan:
    plan = QUICK if options.quick else FULL
    rounds = options.rounds
    if not rounds:
        return plan
    fewer = {name: min(rounds, getattr(plan, name)) for name in ("start_rounds", "flight_rounds")}
    return replace(plan, rounds=rounds, **fewer)


def main(words: Sequence[str]) -> None:
    options = arguments(words)
    peers = () if options.no_peers else PEERS
    is_whole = not (options.quick or options.only or options.rounds or options.no_peers)
    command = "make bench-executor" if is_whole else shlex.join(["python", "-m", "bench.executor", *words])
    results = asyncio.run(measure(plan_of(options), options.only or TABLES, peers, options.peers_env, command))
    text = report(results)
    if is_whole:
        RESULT.write_text(text, encoding="utf-8")
    print(text)


if __name__ == "__main__":
    main(sys.argv[1:])
