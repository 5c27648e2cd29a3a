"""gepa in its own environment, with its own choices of parents, components, minibatches and acceptance.

Its own count of calls is set so high that the evaluation server ends it: it pays no repeated evaluation, as nobody does."""

from __future__ import annotations

import contextlib
from importlib.metadata import version
from typing import Any

import gepa
from gepa.core.adapter import EvaluationBatch

from bench.evolution.peers.wire import OverBudgetError, Wire, serve


class SilentLogger:
    def log(self, message: str) -> None:
        pass


class Adapter:
    def __init__(self, wire: Wire) -> None:
        self.wire = wire

    def evaluate(self, batch: list[str], candidate: dict[str, str], capture_traces: bool = False) -> EvaluationBatch:
        scores = self.wire.scores(candidate, batch)
        return EvaluationBatch(outputs=scores, scores=scores, trajectories=list(scores) if capture_traces else None)

    def make_reflective_dataset(self, candidate: Any, eval_batch: Any, components_to_update: list[str]) -> dict[str, Any]:
        return {name: [{"score": score} for score in eval_batch.scores] for name in components_to_update}

    def propose_new_texts(
        self, candidate: dict[str, str], reflective_dataset: Any, components_to_update: list[str]
    ) -> dict[str, str]:
        return {name: self.wire.proposed(candidate, name)[name] for name in components_to_update}


class Best:
    """gepa's own choice, the best mean over the validation cases, kept as it changes: the server may end the search at any time."""

    def __init__(self, wire: Wire) -> None:
        self.wire = wire
        self.candidate: dict[str, str] = {}
        self.first = self.mean = 0.0

    def on_valset_evaluated(self, event: Any) -> None:
        if not self.candidate:
            self.first = event["average_score"]
        if event["is_best_program"]:
            self.candidate, self.mean = dict(event["candidate"]), event["average_score"]
            self.wire.step(self.candidate)


def solve(task: dict[str, Any], wire: Wire) -> dict[str, Any]:
    best = Best(wire)
    with contextlib.suppress(OverBudgetError):
        gepa.optimize(
            seed_candidate=task["seed_candidate"],
            trainset=task["train"],
            valset=task["dev"],
            adapter=Adapter(wire),
            max_metric_calls=10 * task["budget"],
            use_merge=task["options"].get("merge", False),
            seed=task["seed"],
            logger=SilentLogger(),
            callbacks=[best],
        )
    return {"best": best.candidate, "claim": best.mean - best.first}


if __name__ == "__main__":
    serve(version("gepa"), solve)
