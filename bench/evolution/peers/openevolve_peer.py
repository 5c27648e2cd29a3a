"""openevolve in its own environment: islands, MAP-Elites and sampling are its own, with its usual numbers; one worker process.

It knows no cases: a program is worth its mean over all dev cases. Its model is the proposer that all competitors share."""

from __future__ import annotations

import asyncio
import json
import logging
import os
import socketserver
import tempfile
import threading
from importlib.metadata import version
from pathlib import Path
from typing import Any

from openevolve import OpenEvolve
from openevolve.config import Config, LLMConfig, LLMModelConfig

from bench.evolution.peers import openevolve_evaluation
from bench.evolution.peers.wire import Wire, serve


def solve(task: dict[str, Any], wire: Wire) -> dict[str, Any]:
    with tempfile.TemporaryDirectory() as folder:
        state = _Relay(wire)
        os.environ[openevolve_evaluation.SOCKET] = str(Path(folder) / "socket")
        os.environ[openevolve_evaluation.DEV] = json.dumps(task["dev"])
        with socketserver.ThreadingUnixStreamServer(os.environ[openevolve_evaluation.SOCKET], state.handler()) as server:
            threading.Thread(target=server.serve_forever, daemon=True).start()
            try:
                best = asyncio.run(_evolved(task, Path(folder)))
            finally:
                server.shutdown()
        return {"best": best, "claim": state.mean(best) - state.mean(task["seed_candidate"])}


async def _evolved(task: dict[str, Any], folder: Path) -> dict[str, str]:
    seed = folder / "seed.json"
    seed.write_text(json.dumps(task["seed_candidate"]))
    found = await OpenEvolve(str(seed), openevolve_evaluation.__file__, _config(task), str(folder / "out")).run()
    return dict(json.loads(found.code)) if found else dict(task["seed_candidate"])


def _config(task: dict[str, Any]) -> Config:
    model = LLMModelConfig(name="shared-proposer", init_client=openevolve_evaluation.proposer, retries=0, retry_delay=0, timeout=60)
    config = Config(llm=LLMConfig(models=[model]), language="json", file_suffix=".json", diff_based_evolution=False)
    config.max_iterations = task["budget"] // len(task["dev"]) - 1
    config.checkpoint_interval = 10**6
    config.random_seed = task["seed"]
    config.log_level = "ERROR"
    config.evaluator.cascade_evaluation = False
    return config


class _Relay:
    """Answers the workers with what the evaluation server answers, and remembers the means."""

    def __init__(self, wire: Wire) -> None:
        self.wire = wire
        self.means: dict[str, float] = {}

    def mean(self, candidate: dict[str, str]) -> float:
        return self.means.get(json.dumps(candidate, sort_keys=True), 0.0)

    def handler(self) -> type[socketserver.StreamRequestHandler]:
        relay = self

        class Handler(socketserver.StreamRequestHandler):
            def handle(self) -> None:
                message = json.loads(self.rfile.readline())
                answer = relay.wire.ask(message)
                if scores := answer.get("scores"):
                    relay.means[json.dumps(message["evaluate"], sort_keys=True)] = sum(scores) / len(scores)
                self.wfile.write(json.dumps(answer).encode() + b"\n")

        return Handler


if __name__ == "__main__":
    logging.disable(logging.ERROR)
    serve(version("openevolve"), solve)
