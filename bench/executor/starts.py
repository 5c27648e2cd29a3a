"""Table 3: from a command's publication to its run's first step."""

from __future__ import annotations

from dataclasses import dataclass, field

from bench.executor.evoline_client import Client, calls, no_ops_name
from bench.executor.evoline_stack import Stack
from bench.executor.loads import SHORT, Plan
from bench.executor.rounds import progress
from bench.executor.standin import HOLD
from bench.executor.standin_process import StandinProcess
from services.executor.adapters.mongo_runs import MongoJournal
from shared.clock import SystemClock
from shared.messaging.blobs import ObjectStoreBlobs

SLOTS, STUCK = 10, 9
STUCK_RUN = calls(1, "stuck", prompt=HOLD.decode())


@dataclass
class Starts:
    """Seconds; runs one after another."""

    idle: list[float] = field(default_factory=list)
    crowded: list[float] = field(default_factory=list)
    """While `STUCK` of `SLOTS` places hold runs that wait for a provider."""


async def measure_starts(stack: Stack, client: Client, standin: StandinProcess, plan: Plan) -> Starts:
    starts = Starts()
    async with stack.executor(SLOTS, standin.variables):
        await client.measure(no_ops_name(SHORT), plan.warm_up, 1)
        for number in range(plan.start_rounds):
            starts.idle += await one_by_one(stack, client, plan.starts)
            stuck = [await client.begin(str(STUCK_RUN["name"])) for _ in range(STUCK)]
            await standin.await_held(STUCK)
            starts.crowded += await one_by_one(stack, client, plan.starts)
            await standin.release()
            for run_id in stuck:
                await client.end(run_id)
            progress(f"starts: round {number + 1} of {plan.start_rounds}")
    return starts


async def one_by_one(stack: Stack, client: Client, count: int) -> list[float]:
    """Up to the moment of which the journal says that the first step had ended: a no-op, so little later than its start."""
    run_ids = [(await client.run(no_ops_name(SHORT))).run_id for _ in range(count)]
    journal = MongoJournal(stack.store.database("evoline_executor"), SystemClock(), ObjectStoreBlobs(client.bus))
    seconds = []
    for run_id in run_ids:
        first = next(entry for entry in await journal.entries(run_id) if entry.kind == "step")
        assert first.at is not None
        seconds.append(first.at.timestamp() - client.published_at[run_id])
    return seconds
