"""10,000 changes proposed while no guardrail answers: none takes effect, and when it is back all are judged in their order.

`python -m bench.guardrail.outage [stopped|dead] [changes]`."""

from __future__ import annotations

import asyncio
import signal
import sys
import time
from dataclasses import dataclass

from pydantic import SecretStr

from bench.guardrail.stack import GuardedStack, guarded_stack
from shared.events.changes import ChangeVetoed
from shared.events.deployments import PipelineDeployed
from shared.messaging.bus import Bus
from shared.storage import Database, connect
from tests.eventually import eventually
from tests.fakes.guardrail import pipeline, proposal
from tests.fakes.people import own

PIPELINES = 100


@dataclass(frozen=True)
class Outage:
    changes: int
    proposed_seconds: float
    took_effect_meanwhile: int
    drained_seconds: float
    pipelines_out_of_order: int
    vetoed: int


async def propose(bus: Bus, numbers: range) -> None:
    """In order for each pipeline, those of different pipelines beside each other."""

    async def lane(index: int) -> None:
        for number in numbers[index::PIPELINES]:
            steps = [{"name": "classify", "type": "set_variable", "variable": "label", "value": f"word {number}"}]
            change = proposal(pipeline(name=f"triage{number % PIPELINES}", steps=steps), f"c{number}")
            await own(bus, change).publish(change, cause=change.change_id)

    await asyncio.gather(*(lane(index) for index in range(PIPELINES)))


async def generations(database: Database) -> dict[str, int]:
    return {row["_id"]: row["generation"] for row in await database.collection("deployments").find({})}


async def without(stack: GuardedStack, how: str) -> None:
    if how == "stopped":
        stack.signal("guardrail", signal.SIGSTOP)
        return
    stack.running["guardrail"].kill()
    await stack.running.pop("guardrail").wait()


async def again(stack: GuardedStack, how: str) -> None:
    if how == "stopped":
        stack.signal("guardrail", signal.SIGCONT)
    else:
        await stack.start("guardrail", "guardrail")


async def measured(how: str, changes: int) -> Outage:
    async with guarded_stack() as (stack, bus):
        store = connect(SecretStr(stack.mongo_url))
        database = store.database("evoline_guardrail")
        await stack.start("guardrail", "guardrail")
        await propose(bus, range(PIPELINES))

        async def all_there() -> bool:
            return len([name for name in await generations(database) if name.startswith("triage")]) == PIPELINES

        await eventually(all_there, 300)
        before = await generations(database)
        await without(stack, how)
        began = time.monotonic()
        await propose(bus, range(PIPELINES, PIPELINES + changes))
        proposed = time.monotonic() - began
        meanwhile = sum((await generations(database)).values()) - sum(before.values())
        began = time.monotonic()
        async with bus.follow(PipelineDeployed, ChangeVetoed) as facts:
            await again(stack, how)
            moved, judged, vetoed = dict[str, dict[int, int]](), 0, 0
            async for fact, _ in facts:
                number = int(fact.change_id[1:]) if isinstance(fact, PipelineDeployed | ChangeVetoed) else 0
                if number < PIPELINES:
                    continue
                judged += 1
                vetoed += isinstance(fact, ChangeVetoed)
                if isinstance(fact, PipelineDeployed):
                    moved.setdefault(fact.pipeline, {})[fact.generation] = number
                if judged == changes:
                    break
        store.close()
        orders = [[number for _, number in sorted(each.items())] for each in moved.values()]
        wrong = sum(order != sorted(order) for order in orders)
        return Outage(changes, proposed, meanwhile, time.monotonic() - began, wrong, vetoed)


def main() -> None:
    how = sys.argv[1] if len(sys.argv) > 1 else "stopped"
    print(how, asyncio.run(measured(how, int(sys.argv[2]) if len(sys.argv) > 2 else 10_000)), flush=True)


if __name__ == "__main__":
    main()
