"""dspy in its own environment: a program with one predictor a text, whose instructions are the texts; GEPA or MIPROv2 compiles it.

The program asks no model: the evaluation server says what a case is worth under these instructions, and the trace shows every
predictor as called. MIPROv2's prompt model is the proposer that all competitors share; its trials are as many as surely
fit the budget."""

from __future__ import annotations

import logging
import re
from importlib.metadata import version
from typing import Any

import dspy

from bench.evolution.peers.wire import OverBudgetError, Wire, serve

_MARKED = re.compile(r"<<(\w+)>>\n(.*?)\n<<end>>", re.DOTALL)
_MINIBATCH, _FULL_EVERY = 35, 5
_INSTRUCTIONS_EACH = 4


class Texts(dspy.Module):
    def __init__(self, texts: dict[str, str], budget: Budget) -> None:
        super().__init__()
        self.names = list(texts)
        self.budget = budget
        for name, text in texts.items():
            setattr(self, name, dspy.Predict(dspy.Signature("case -> answer", f"<<{name}>>\n{text}\n<<end>>")))

    def forward(self, case: str) -> dspy.Prediction:
        if dspy.settings.trace is not None:
            for name in self.names:
                dspy.settings.trace.append((getattr(self, name), {"case": case}, dspy.Prediction(answer="")))
        return dspy.Prediction(answer="", score=self.budget.score(texts_of(self), case))

    def __deepcopy__(self, memo: dict[int, Any]) -> Texts:
        copied = Texts(texts_of(self), self.budget)
        memo[id(self)] = copied
        return copied


class Budget:
    """After the server's refusal everything is worth nothing, and the optimiser is told to stop."""

    def __init__(self, wire: Wire) -> None:
        self.wire = wire
        self.is_over = False

    def score(self, texts: dict[str, str], case: str) -> float:
        if not self.is_over:
            try:
                return self.wire.scores(texts, [case])[0]
            except OverBudgetError:
                self.is_over = True
        return 0.0

    def __call__(self, state: Any) -> bool:
        return self.is_over


class SharedProposer(dspy.BaseLM):
    """MIPROv2's prompt model: reads which text it is asked about and answers with the shared proposer's new one."""

    def __init__(self, wire: Wire, seed: dict[str, str]) -> None:
        super().__init__(model="shared-proposer")
        self.wire = wire
        self.seed = seed

    def __call__(self, prompt: str | None = None, messages: list[dict[str, Any]] | None = None, **options: Any) -> list[str]:
        text = prompt or "\n".join(str(message["content"]) for message in messages or [])
        name = _MARKED.findall(text)[-1][0]
        proposed = self.wire.proposed(self.seed, name)[name]
        return [f"[[ ## proposed_instruction ## ]]\n<<{name}>>\n{proposed}\n<<end>>\n\n[[ ## completed ## ]]"]


class Best:
    """GEPA's own choice as it changes."""

    def __init__(self, wire: Wire, budget: Budget) -> None:
        self.wire = wire
        self.budget = budget
        self.candidate: dict[str, str] = {}
        self.first = self.mean = 0.0

    def on_valset_evaluated(self, event: Any) -> None:
        if self.budget.is_over:
            return
        if not self.candidate:
            self.first = event["average_score"]
        if event["is_best_program"]:
            self.candidate, self.mean = plain(event["candidate"]), event["average_score"]
            self.wire.step(self.candidate)


def texts_of(program: Texts) -> dict[str, str]:
    return plain({name: getattr(program, name).signature.instructions for name in program.names})


def plain(instructions: dict[str, str]) -> dict[str, str]:
    found = {name: _MARKED.search(text) for name, text in instructions.items()}
    return {name: match.group(2) if match else instructions[name] for name, match in found.items()}


def metric(example: Any, prediction: Any, trace: Any = None, *further: Any) -> float:
    return float(prediction.score)


def solve(task: dict[str, Any], wire: Wire) -> dict[str, Any]:
    train, dev = ([dspy.Example(case=case).with_inputs("case") for case in task[split]] for split in ("train", "dev"))
    optimise = _mipro if task["options"].get("optimizer") == "MIPROv2" else _gepa
    return optimise(task, wire, train, dev)


def _gepa(task: dict[str, Any], wire: Wire, train: list[Any], dev: list[Any]) -> dict[str, Any]:
    budget = Budget(wire)
    best = Best(wire, budget)

    def propose(candidate: dict[str, str], reflective_dataset: Any, components_to_update: list[str]) -> dict[str, str]:
        texts = plain(candidate)
        new = {name: wire.proposed(texts, name)[name] for name in components_to_update}
        return {name: f"<<{name}>>\n{text}\n<<end>>" for name, text in new.items()}

    optimizer = dspy.GEPA(
        metric=metric,
        max_metric_calls=10 * task["budget"],
        instruction_proposer=propose,
        reflection_lm=None,
        num_threads=1,
        seed=task["seed"],
        gepa_kwargs={"callbacks": [best], "stop_callbacks": [budget]},
    )
    optimizer.compile(Texts(task["seed_candidate"], budget), trainset=train, valset=dev)
    return {"best": best.candidate, "claim": best.mean - best.first}


def _mipro(task: dict[str, Any], wire: Wire, train: list[Any], dev: list[Any]) -> dict[str, Any]:
    budget, seed = Budget(wire), task["seed_candidate"]
    optimizer = dspy.MIPROv2(
        metric=metric,
        prompt_model=SharedProposer(wire, seed),
        task_model=SharedProposer(wire, seed),
        auto=None,
        num_candidates=_INSTRUCTIONS_EACH,
        num_threads=1,
        seed=task["seed"] + 1,
        max_bootstrapped_demos=0,
        max_labeled_demos=0,
        track_stats=True,
    )
    program = optimizer.compile(
        Texts(seed, budget),
        trainset=train,
        valset=dev,
        num_trials=_trials(task["budget"], len(train), len(dev)),
        minibatch_size=min(_MINIBATCH, len(dev)),
        minibatch_full_eval_steps=_FULL_EVERY,
        program_aware_proposer=False,
        data_aware_proposer=False,
        tip_aware_proposer=False,
        fewshot_aware_proposer=False,
    )
    if budget.is_over:
        raise AssertionError("its trials were to fit the budget")
    best = texts_of(program)
    score = {name: sum(wire.scores(texts, task["dev"])) / len(dev) for name, texts in (("best", best), ("seed", seed))}
    return {"best": best, "claim": score["best"] - score["seed"]}


def _trials(budget: int, train: int, dev: int) -> int:
    """As many as surely fit: minibatches, a full evaluation every fifth and at both ends, and its look at the training cases."""
    trials = 1
    while _MINIBATCH * (trials + 1) + dev * ((trials + 1) // _FULL_EVERY + 2) + train <= budget:
        trials += 1
    return trials


if __name__ == "__main__":
    logging.disable(logging.ERROR)
    serve(version("dspy"), solve)
