"""`evoline rollout approve` names the step that a person saw."""

from __future__ import annotations

import io
from typing import Any

import pytest
import typer

from evoline.cli.rollouts import _asked_for
from services.guardrail.use_cases.rollouts.queries import get_rollout
from shared.errors import InvalidInputError
from shared.events.rollouts import GetRollout, RolloutPlan, RolloutStep
from tests.fakes.rollout_flow import Flow, is_done

WAIT = RolloutStep(share=0.1, minutes=0, sample=0, approval=True)
PLAN = RolloutPlan(steps=(WAIT, WAIT.model_copy(update={"share": 0.5}), RolloutStep(share=1.0)))


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


async def shown() -> dict[str, Any]:
    flow = Flow()
    await flow.begin(PLAN)
    assert is_done(await flow.control("approve_step", step=1))
    return await get_rollout(GetRollout(rollout_id="r1"), flow.bench.at)


async def test_where_nobody_can_be_asked_the_step_has_to_be_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stdin", io.StringIO("y\n"))
    with pytest.raises(InvalidInputError, match="at present that is 2 of 3: `evoline rollout approve r1 --step 2`"):
        _asked_for(await shown())


async def test_a_person_is_shown_the_step_and_says_yes_or_no(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    found = await shown()
    monkeypatch.setattr("sys.stdin", Terminal("y\n"))
    assert _asked_for(found) == 2
    said = capsys.readouterr().err
    assert "10% > [50%] > 100%" in said and "Approve step 2 of 3 (50%)?" in said
    monkeypatch.setattr("sys.stdin", Terminal("n\n"))
    with pytest.raises(typer.Abort):
        _asked_for(found)
