"""LangGraph with its SQLite saver: `python -m bench.executor.peers.on_langgraph FILE`.

`durability="sync"`: a step's checkpoint is stored before the next step begins. Graphs run in threads over the synchronous saver,
which is a little faster here than the asynchronous one."""

from __future__ import annotations

import asyncio
import sqlite3
import sys
import uuid
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise
from typing import Any, TypedDict

from langgraph.checkpoint.sqlite import SqliteSaver
from langgraph.graph import END, START, StateGraph

from bench.executor.peers.protocol import Channel, installed

THREADS = 32


class State(TypedDict):
    done: int


def no_op(state: State) -> State:
    return {"done": state["done"] + 1}


class Graphs:
    """Compiled once for each number of steps."""

    def __init__(self, saver: SqliteSaver) -> None:
        self._saver = saver
        self._compiled: dict[int, Any] = {}
        self._threads = ThreadPoolExecutor(THREADS)

    async def run(self, steps: int) -> None:
        graph = self._compiled.get(steps) or self._compile(steps)
        await asyncio.get_running_loop().run_in_executor(self._threads, _invoke, graph, steps)

    def _compile(self, steps: int) -> Any:
        builder = StateGraph(State)
        names = [f"step_{number}" for number in range(steps)]
        for name in names:
            builder.add_node(name, no_op)
        for before, after in pairwise([START, *names, END]):
            builder.add_edge(before, after)
        self._compiled[steps] = builder.compile(checkpointer=self._saver)
        return self._compiled[steps]


def _invoke(graph: Any, steps: int) -> None:
    config = {"configurable": {"thread_id": uuid.uuid4().hex}, "recursion_limit": steps + 5}
    assert graph.invoke({"done": 0}, config, durability="sync")["done"] == steps


async def main(path: str) -> None:
    channel = Channel()
    with SqliteSaver.from_conn_string(path) as saver:
        versions = installed("langgraph", "langgraph-checkpoint-sqlite") | {"SQLite": sqlite3.sqlite_version}
        await channel.serve(Graphs(saver).run, versions)


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1]))
