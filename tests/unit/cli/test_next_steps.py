"""What a command says where it cannot go on, and after it did: in words, with what to type next."""

from __future__ import annotations

import asyncio
import re
from pathlib import Path
from typing import Any, cast

import pytest
from pydantic import ValidationError
from rich.console import Console

from evoline.cli import lineage
from evoline.cli.experiments import rollout_wish
from evoline.cli.forms import FORMS
from evoline.cli.freezing import _serves
from evoline.cli.output import message_of
from evoline.cli.progress import text_of
from evoline.cli.proposing import way_to_serve
from evoline.cli.rollouts import read_plan
from evoline.client import Client
from evoline.lineage.tree import build
from shared.errors import InvalidInputError, NotFoundError, UnavailableError
from shared.events.quotas import ListBudgets
from shared.events.recovery import QuarantineRevision
from shared.events.runs import ExecuteRun, RunSuspended
from shared.evidence.wording import chance
from shared.pipeline.loading import load_document
from tests.fakes.evolution_world import seed_document

DOCUMENT = load_document(seed_document())


@pytest.mark.parametrize(
    ("message", "fields", "wanted"),
    [
        (ExecuteRun, {"run_id": "r", "pipeline": "mood@zz"}, "pipeline: .*NAME@DIGEST"),
        (ExecuteRun, {"run_id": "a b", "pipeline": "mood"}, "run_id: .*letters, digits"),
        (QuarantineRevision, {"digest": "12"}, "digest: .*8 to 64 of the digits"),
        (ListBudgets, {"day": "5"}, "day: .*as 2026-11-27"),
        (ListBudgets, {"day": "2026-13-40"}, "day: there is no day 2026-13-40"),
    ],
)
def test_a_form_is_told_in_words_and_never_as_a_pattern(message: Any, fields: dict[str, Any], wanted: str) -> None:
    with pytest.raises(ValidationError) as caught:
        message.model_validate(fields)
    told = message_of(caught.value)
    assert re.search(wanted, told) and "pattern" not in told and not any(pattern in told for pattern in FORMS)


class Guardrail:
    """Answers what serves."""

    def __init__(self, answer: dict[str, Any] | Exception) -> None:
        self._answer = answer

    async def ask(self, _: object) -> dict[str, Any]:
        if isinstance(self._answer, Exception):
            raise self._answer
        return self._answer


@pytest.mark.parametrize(
    ("answer", "way"),
    [
        ({"stable": "0" * 64}, f"does not serve yet: evoline rollout start {DOCUMENT.name}@{DOCUMENT.digest[:12]}"),
        (NotFoundError("nothing serves"), "does not serve yet: the same command without --no-deploy"),
        ({"stable": DOCUMENT.digest}, "it serves already"),
        (UnavailableError("no answer"), ""),
    ],
)
def test_what_was_only_approved_says_how_it_comes_to_serve(answer: dict[str, Any] | Exception, way: str) -> None:
    told = asyncio.run(way_to_serve(cast("Client", Guardrail(answer)), DOCUMENT))
    assert told.startswith(way) and bool(told) == bool(way)


@pytest.mark.parametrize(
    ("answer", "serves"), [({"stable": "0" * 64}, True), (NotFoundError("nothing"), False), (UnavailableError("no answer"), True)]
)
def test_a_freeze_of_a_name_that_nobody_knows_is_noticed(answer: dict[str, Any] | Exception, serves: bool) -> None:
    assert asyncio.run(_serves(cast("Client", Guardrail(answer)), "mood")) is serves


def test_a_run_that_is_paused_is_told_to_who_waits_for_it() -> None:
    fields = {"run_id": "r", "pipeline": "mood", "digest": "a" * 64, "generation": 0}
    assert text_of(RunSuspended.model_validate({**fields, "status": "paused", "reason": "lunch"})) == "paused: lunch"


def test_a_file_with_the_steps_alone_is_no_plan(tmp_path: Path) -> None:
    (tmp_path / "plan.yaml").write_text("- {share: 0.5}\n- {share: 1.0}\n")
    with pytest.raises(InvalidInputError, match=r"plan\.yaml plan: holds no plan .write a map, as .steps:"):
        read_plan(tmp_path / "plan.yaml")


def test_the_documented_plan_is_one(tmp_path: Path) -> None:
    (found,) = re.findall(r"```yaml\n(.*?)```", (Path(__file__).parents[3] / "docs" / "rollouts.md").read_text(), re.DOTALL)
    (tmp_path / "plan.yaml").write_text(found)
    plan = read_plan(tmp_path / "plan.yaml")
    assert [step.share for step in plan.steps] == [0.0, 0.1, 0.5, 1.0] and plan.requires_quality


def test_a_way_to_take_over_that_is_none_is_told_with_those_that_are() -> None:
    with pytest.raises(InvalidInputError, match="'gradul' is no way to take over, and no file"):
        rollout_wish("gradul")


def test_a_long_line_of_a_tree_keeps_what_serves(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    row = {"digest": "a" * 12, "parent": "", "operator": "answer_schema", "text": "word " * 30, "accepted": True}
    told = {"evolution_id": "e", "status": "finished", "strategy": "climb", "created_at": "", "candidates": [row]}
    pipeline = {"revisions": [], "stable": "a" * 12}
    monkeypatch.setattr(lineage, "out", lambda: Console(width=80, soft_wrap=True))
    lineage._print(build(pipeline, [told], "p"))
    assert "stable" in capsys.readouterr().out


@pytest.mark.parametrize(("p_value", "text"), [(0.03125, "0.0312"), (1.0, "1.0000"), (0.0009, "9.0e-04"), (1.232e-10, "1.2e-10")])
def test_a_small_chance_is_not_told_as_none(p_value: float, text: str) -> None:
    assert chance(p_value) == text
