"""gepa in its own environment. Talks JSON lines: a task comes in, `evaluate` goes out and scores come back, `done` ends it."""

from __future__ import annotations

import json
import random
import sys
from importlib.metadata import version
from typing import Any

import gepa
from gepa.core.adapter import EvaluationBatch


class SilentLogger:
    def log(self, message: str) -> None:
        pass


def say(message: dict[str, Any]) -> None:
    sys.stdout.write(json.dumps(message) + "\n")
    sys.stdout.flush()


def hear() -> dict[str, Any]:
    line = sys.stdin.readline()
    if not line:
        sys.exit(0)
    heard: dict[str, Any] = json.loads(line)
    return heard


class Adapter:
    """Everything is measured by the server; new texts come from the proposer that all competitors share."""

    def __init__(self, task: dict[str, Any]) -> None:
        self.random = random.Random(task["seed"])
        self.alleles = task["alleles"]

    def evaluate(self, batch: list[str], candidate: dict[str, str], capture_traces: bool = False) -> EvaluationBatch:
        say({"evaluate": candidate, "cases": batch})
        scores = hear()["scores"]
        return EvaluationBatch(outputs=scores, scores=scores, trajectories=list(scores) if capture_traces else None)

    def make_reflective_dataset(self, candidate: Any, eval_batch: Any, components_to_update: list[str]) -> dict[str, Any]:
        return {name: [{"score": score} for score in eval_batch.scores] for name in components_to_update}

    def propose_new_texts(
        self, candidate: dict[str, str], reflective_dataset: Any, components_to_update: list[str]
    ) -> dict[str, str]:
        chosen = {}
        for name in components_to_update:
            others = [str(allele) for allele in range(self.alleles) if str(allele) != candidate[name]]
            chosen[name] = self.random.choice(others)
        return chosen


def solve(task: dict[str, Any]) -> dict[str, Any]:
    result = gepa.optimize(
        seed_candidate=task["seed_candidate"],
        trainset=task["train"],
        valset=task["dev"],
        adapter=Adapter(task),
        reflection_lm=None,
        max_metric_calls=task["budget"],
        use_merge=task["merge"],
        seed=task["seed"],
        logger=SilentLogger(),
    )
    best = result.best_idx
    return {"best": result.candidates[best], "claim": result.val_aggregate_scores[best] - result.val_aggregate_scores[0]}


def main() -> None:
    say({"ready": version("gepa")})
    while True:
        say({"done": solve(hear())})


if __name__ == "__main__":
    main()
