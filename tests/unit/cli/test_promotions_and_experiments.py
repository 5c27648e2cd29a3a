"""What `evoline promote` and `evoline experiment start` refuse by themselves, and which orders are the same."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any, cast

import pytest
from pydantic import ValidationError

from evoline.cli.experiments import _command, print_experiment, read_variants, rollout_wish
from evoline.cli.output import problems_of
from evoline.cli.progress import Progress
from evoline.cli.promoting import _file, _shown, _tell
from evoline.client.api import Client
from evoline.client.promotions import Promoted, Promotion, _not_in_vain, require_in_use, require_own, require_promotable
from shared.errors import InvalidInputError, NotFoundError
from shared.events.changes import ChangeVetoed, GetChange
from shared.events.datasets import RegisterDataset
from shared.events.experiments import ExperimentFinished, VariantReport
from shared.events.rollouts import RolloutPlan
from shared.events.runs import RunFinished
from shared.events.values import Case, GraderSpec
from shared.pipeline.loading import load_document
from tests.fakes.evolution_world import seed_document

DOCUMENT = load_document(seed_document())


def wish(**changes: Any) -> Promotion:
    fields: dict[str, Any] = {"pipeline": "tweets", "document": DOCUMENT, "dataset_id": "d", "incumbent": "0" * 64}
    return Promotion(**{**fields, **changes})


def test_the_same_wish_is_the_same_change_and_another_one_is_not() -> None:
    first = wish().command("alice")
    assert first.change_id == wish(reason="other words").command("alice").change_id
    others = [wish(dataset_id="e"), wish(incumbent="1" * 64), wish(rollout=RolloutPlan())]
    ids = {first.change_id, wish().command("bob").change_id, *(each.command("alice").change_id for each in others)}
    assert len(ids) == 5 and wish().command("alice", "mine").change_id == "mine"
    assert (first.kind, first.parent_digest, first.dataset_id) == ("promotion", "0" * 64, "d")


class Changes:
    """The guardrail's records, by the number of the attempt that they belong to."""

    author = "alice"

    def __init__(self, *records: dict[str, Any]) -> None:
        self._records = {wish().command("alice", attempt=number).change_id: record for number, record in enumerate(records)}

    async def ask(self, query: GetChange) -> dict[str, Any]:
        if query.change_id not in self._records:
            raise NotFoundError(query.change_id)
        return self._records[query.change_id]


VETOED_UNSEEN = {"status": "vetoed", "gate": None}


@pytest.mark.parametrize(
    ("records", "attempt"),
    [
        ((), 0),
        (({"status": "queued", "gate": None},), 0),
        (({"status": "vetoed", "gate": {"verdict": "rejected"}},), 0),
        ((VETOED_UNSEEN,), 1),
        ((VETOED_UNSEEN, VETOED_UNSEEN), 2),
        ((VETOED_UNSEEN, {"status": "approved", "gate": {"verdict": "certified"}}), 1),
    ],
)
def test_what_was_in_the_way_before_anything_was_measured_is_no_verdict_for_ever(
    records: tuple[dict[str, Any], ...], attempt: int
) -> None:
    command = asyncio.run(_not_in_vain(cast("Client", Changes(*records)), wish()))
    assert command.change_id == wish().command("alice", attempt=attempt).change_id


def test_the_verdict_on_another_document_is_not_told_as_that_of_this_one() -> None:
    own = {"pipeline": "tweets", "digest": DOCUMENT.digest}
    require_own(wish(), own)
    for other in ({**own, "digest": "1" * 64}, {**own, "pipeline": "mails"}):
        with pytest.raises(InvalidInputError, match="choose another id"):
            require_own(wish(), other)


def test_what_cannot_be_promoted_is_told_with_what_to_do() -> None:
    require_promotable(wish())
    with pytest.raises(InvalidInputError, match="set `name: other`"):
        require_promotable(wish(pipeline="other"))
    with pytest.raises(InvalidInputError, match="serves already"):
        require_promotable(wish(incumbent=DOCUMENT.digest))
    with pytest.raises(InvalidInputError, match="neither a digest nor a file"):
        _file("nowhere.yaml")


def test_a_revision_that_was_taken_back_is_not_told_as_one_that_serves() -> None:
    taken_back = {"cause": "rollback-1", "reason": "worse on Mondays", "author": "bob", "at": "2026-11-27T08:01:32.658032+00:00"}
    own = {"digest": DOCUMENT.digest, "quarantine": taken_back}
    with pytest.raises(InvalidInputError, match=f"by bob: worse on Mondays .*evoline release tweets@{DOCUMENT.digest[:12]}"):
        require_in_use(wish(), {"revisions": [own]})
    require_in_use(wish(), {"revisions": [{**own, "quarantine": None}, {**own, "digest": "1" * 64}]})
    require_in_use(wish(), {"revisions": []})


def test_every_problem_of_every_variant_file_is_told_at_once(tmp_path: Path) -> None:
    (tmp_path / "fine.json").write_text(json.dumps(seed_document()))
    (tmp_path / "broken.yaml").write_text("name: [")
    (tmp_path / "empty.json").write_text('{"name": "tweets"}')
    files = [tmp_path / "fine.json", tmp_path / "broken.yaml", tmp_path / "empty.json", tmp_path / "missing.json"]
    with pytest.raises(InvalidInputError) as refused:
        read_variants(files)
    told = " ".join(map(str, refused.value.problems))
    assert all(name in told for name in ("broken.yaml", "empty.json", "missing.json")) and "fine.json" not in told
    (tmp_path / "more").mkdir()
    (tmp_path / "more" / "fine.json").write_text(json.dumps(seed_document()))
    with pytest.raises(InvalidInputError, match="several files are named fine"):
        read_variants([tmp_path / "fine.json", tmp_path / "more" / "fine.json"])
    assert [each.label for each in read_variants([tmp_path / "fine.json"])] == ["fine"]


def test_a_rollout_is_gradual_policys_or_a_files(tmp_path: Path) -> None:
    assert rollout_wish("policy") is None
    assert RolloutPlan.model_validate(rollout_wish("gradual")) == RolloutPlan()
    (tmp_path / "plan.yaml").write_text("steps: [{share: 0.5}, {share: 1.0}]")
    assert RolloutPlan.model_validate(rollout_wish(str(tmp_path / "plan.yaml"))).steps[0].share == 0.5
    (tmp_path / "down.yaml").write_text("steps: [{share: 0.5}, {share: 0.2}]")
    with pytest.raises(InvalidInputError, match=r"down\.yaml.*go up"):
        rollout_wish(str(tmp_path / "down.yaml"))
    with pytest.raises(InvalidInputError, match="quickly"):
        rollout_wish("quickly")
    (tmp_path / "mood.yaml").write_text(json.dumps(seed_document()))
    with pytest.raises(
        InvalidInputError, match=r"mood\.yaml plan: is no plan of a rollout, which has no .*name.*write a map"
    ) as told:
        rollout_wish(str(tmp_path / "mood.yaml"))
    assert len(told.value.problems) == 1


def gate_run(number: int) -> RunFinished:
    fields = {"run_id": f"r{number}", "pipeline": "tweets", "digest": "d", "domain": "social", "purpose": "gate"}
    return RunFinished.model_validate({**fields, "status": "succeeded" if number else "failed"})


def test_what_takes_minutes_tells_off_a_terminal_how_far_it_is(capsys: pytest.CaptureFixture[str]) -> None:
    at = [100.0]
    with Progress(clock=lambda: at[0]) as progress:
        progress.now("on sealed cases")
        for number in range(6):
            progress.on_fact(gate_run(number))
            at[0] += 4.0
    told = [line.strip() for line in capsys.readouterr().err.splitlines()]
    assert told == ["on sealed cases, 4 runs (1 not ok)"], "a line each 10 seconds at most, none for what is quick"
    with Progress(clock=lambda: at[0], quiet=True) as progress:
        at[0] += 60.0
        progress.now("on sealed cases")
    assert capsys.readouterr().err == ""


def test_the_verdict_on_a_promotion_is_told_once(capsys: pytest.CaptureFixture[str]) -> None:
    common = {"change_id": "c1", "kind": "promotion", "pipeline": "tweets", "digest": "d" * 64, "author": "ann"}
    veto = ChangeVetoed.model_validate({**common, "vetoed_by": "gate", "reasons": ["shown worse"]})
    with Progress() as progress:
        for fact in (gate_run(0), veto):
            _shown(progress)(fact)
    _tell(Promoted(veto, {"digest": "d" * 64}), as_json=False)
    said = capsys.readouterr()
    assert said.err == "" and said.out.count("shown worse") == 1


def test_too_many_or_too_few_cases_are_told_in_the_words_of_whoever_typed_the_command() -> None:
    case = Case(id="c", input={"t": "x"}, expected="a")
    for count, words in ((5001, "has 5,001 entries; at most 5,000 are taken"), (2, "has 2 entries; at least 3 are needed")):
        with pytest.raises(ValidationError) as refused:
            RegisterDataset(dataset_id="d", domain="social", cases=(case,) * count, grader=GraderSpec(kind="label"), author="ann")
        (problem,) = problems_of(refused.value)
        assert (problem.path, problem.reason) == ("cases", words)


def test_why_a_variant_took_no_part_is_told_below_the_table(capsys: pytest.CaptureFixture[str]) -> None:
    reasons = ("steps[0].prompt: is missing", "outputs: names no [step]", "third", "fourth", "fifth")
    variants = (VariantReport(label="generated-b", verdict="invalid", reasons=reasons), VariantReport(label="fine"))
    print_experiment(ExperimentFinished(experiment_id="e", pipeline="tweets", outcome="no_winner", variants=variants))
    told = "  generated-b: steps[0].prompt: is missing; outputs: names no [step]; third; and 2 more (--json)\n"
    assert told in capsys.readouterr().out


def test_the_same_options_are_the_same_experiment() -> None:
    fields: dict[str, Any] = {"pipeline": "tweets", "dataset_id": "d", "generate": True}
    first = _command(fields, "")
    assert first == _command(dict(fields), "") and first.experiment_id.startswith("experiment-")
    assert _command({**fields, "seed": 1}, "").experiment_id != first.experiment_id
    assert _command(fields, "mine").experiment_id == "mine"
