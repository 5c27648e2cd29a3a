"""What `evoline evolve` shows while a search runs."""

from __future__ import annotations

import io
import sys
from typing import Any, cast

import pytest
from click.testing import CliRunner
from rich.console import Console

from evoline.cli import run
from evoline.cli.app import build
from evoline.cli.evolution_view import EvolutionState, EvolutionView, duration, line_of, picture
from evoline.client.evolutions import same_id
from shared.errors import ConfigurationError
from shared.events.improvement import EvolutionProgressed, StartEvolution
from shared.events.runs import RunFinished
from shared.events.values import Score

BEST = Score(mean=0.75, low=0.5, high=0.9, cases=16, grader_hash="h")


def progressed(**changes: Any) -> EvolutionProgressed:
    fields = {"evolution_id": "e", "stage": "search", "text": "", "evaluations": 40, "evaluations_budget": 200, "best": BEST}
    return EvolutionProgressed.model_validate({**fields, "done": 32, "candidates": 5, **changes})


def shown(state: EvolutionState, now: float = 0.0) -> str:
    console = Console(file=io.StringIO(), width=120, force_terminal=False)
    console.print(picture(state, now))
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue()


def test_everything_that_is_known_is_in_the_picture() -> None:
    state = EvolutionState("evolution-1 of tweets, genetic")
    state.hear(progressed(stage="seed", best=BEST.model_copy(update={"mean": 0.5, "cases": 8})), 0.0)
    fact = progressed(generation=2, generations=5, front=3, operator="examples_add", change="shows [one] more", elapsed_seconds=61)
    state.hear(fact.model_copy(update={"seconds_left": 90.0}), 10.0)
    text = shown(state, 14.0)
    for words in (
        "evolution-1 of tweets", "40 of 200 spent, 8 under way", "2 of 5", "0.750 [0.500, 0.900] on 16 cases",
        "stable revision 0.500 on its first 8", "5 measured, 3 on the front", "examples_add: shows [one] more",
        "1 min 05 s", "in 1 min 26 s at most",
    ):  # fmt: skip
        assert words in text, words


def test_before_enough_is_known_no_end_is_promised() -> None:
    state = EvolutionState("e")
    assert "waiting for the evolution service" in shown(state)
    state.hear(progressed(best=None), 0.0)
    text = shown(state)
    assert "too little has run to tell" in text and "nothing measured yet" in text and "nothing yet" in text


def test_without_a_terminal_a_line_is_told_for_what_is_new_and_no_other(capsys: pytest.CaptureFixture[str]) -> None:
    with EvolutionView("e") as view:
        for spent in range(40, 60):
            view.on_fact(progressed(evaluations=spent))
        view.on_fact(progressed(operator="vote", evaluations=60))
        view.on_fact(progressed(stage="gate", text="proposed abc"))
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 3
    assert "40 of 200 spent" in lines[0] and "accepted vote" in lines[1] and "gate: proposed abc" in lines[2]


def test_without_a_terminal_the_id_is_told_at_once(capsys: pytest.CaptureFixture[str]) -> None:
    for quiet in (False, True):
        with EvolutionView("tweets", quiet=quiet) as view:
            view.title("evolution-1 of tweets, guided")
    assert capsys.readouterr().err.splitlines() == ["  evolution-1 of tweets, guided"]


def test_the_runs_of_the_gate_are_counted(capsys: pytest.CaptureFixture[str]) -> None:
    run_fields = {"run_id": "r", "pipeline": "p", "digest": "", "domain": "d", "status": "succeeded", "outputs": {}}
    with EvolutionView("e") as view:
        for purpose in ("evaluation", "gate", "gate"):
            view.on_fact(RunFinished.model_validate({**run_fields, "purpose": purpose}))
        assert view.state.sealed_runs == 2
        assert capsys.readouterr().err.splitlines() == ["  gate: 1 runs on sealed cases"]
        view.on_fact(progressed(stage="gate", text="proposed"))
        assert "2 runs seen" in shown(view.state)


def test_where_it_is_quiet_nothing_is_told(capsys: pytest.CaptureFixture[str]) -> None:
    with EvolutionView("e", quiet=True) as view:
        view.on_fact(progressed())
    assert capsys.readouterr() == ("", "")


def test_a_line_names_the_end_only_where_it_is_known() -> None:
    assert "left" not in line_of(progressed())
    assert line_of(progressed(seconds_left=3700.0)).endswith("at most 1 h 01 min left")
    assert [duration(seconds) for seconds in (-1, 59.4, 60, 3599)] == ["0 s", "59 s", "1 min 00 s", "59 min 59 s"]


def test_the_id_of_an_evolution_is_made_of_the_order() -> None:
    order = StartEvolution(evolution_id="x", pipeline="tweets", dataset_id="d")
    assert same_id(order) == same_id(order.model_copy(update={"evolution_id": "y"}))
    for change in ({"evaluations": 299}, {"seed": 1}, {"dataset_id": "e"}, {"strategy": "genetic"}, {"author": "ada"}):
        assert same_id(order.model_copy(update=change)) != same_id(order)


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["tweets"], "exactly one of --dataset and --dataset-id"),
        (["tweets", "--dataset", "nowhere.jsonl"], "nowhere.jsonl: cannot be read"),
        (["tweets", "--dataset", "."], "cannot be read"),
        (["tweets", "--dataset-id", "d", "--seconds", "0"], "seconds"),
        (["tweets", "--dataset-id", "d", "--new", "--id", "mine"], "give one of them"),
        (["Tweets!", "--dataset-id", "d"], "pipeline"),
        (["tweets", "--dataset-id", "d", "--weigh", "cost"], "write cost=0.05"),
        (["tweets", "--dataset-id", "d", "--weigh", "beauty=0.1"], "weights"),
        (["tweets", "--dataset-id", "d", "--weigh", "cost=7"], "weights.cost"),
        (["tweets", "--dataset-id", "d", "--borrow", "No Name"], "borrow_from"),
    ],
)
def test_what_cannot_be_searched_is_told_before_anything_is_asked(
    words: list[str], told: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["evolve", *words]) == 1
    assert told in capsys.readouterr().err


def test_an_unknown_strategy_is_told_with_those_there_are(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["evolve", "tweets", "--dataset-id", "d", "--strategy", "luck"]) == 2
    assert "climb" in capsys.readouterr().err


def test_pictures_that_nobody_can_draw_are_refused_before_the_search(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    result = CliRunner().invoke(cast("Any", build()), ["evolve", "tweets", "--dataset-id", "d", "--report", "pictures"])
    assert isinstance(result.exception, ConfigurationError)
    assert "pip install 'evoline[plots]'" in str(result.exception)
