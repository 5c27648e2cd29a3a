from __future__ import annotations

from pathlib import Path

from evoline.cli.demo_report import score_text, shortened
from evoline.client.datasets import read_cases
from evoline.demo.report import DemoReport, describe
from evoline.demo.story import DATASET, one_step
from shared.events.values import Score
from shared.pipeline.loading import load_document

ROOT = Path(__file__).parents[3]


def test_the_reports_description_is_current() -> None:
    assert (ROOT / "docs" / "demo-report.md").read_text() == describe()


def test_every_field_of_the_report_is_described() -> None:
    assert all(f"`{name}`" in describe() for name in DemoReport.model_fields)


def test_the_baseline_is_a_valid_pipeline_of_one_step() -> None:
    document = load_document(one_step())
    assert len(document.steps) == 1
    assert set(document.inputs) == {"text"}


def test_the_demos_data_holds_every_split_and_no_case_twice() -> None:
    cases = read_cases(ROOT / "pipelines" / "examples" / f"{DATASET}.jsonl")
    assert {case.split for case in cases} == {"train", "dev", "sealed"}
    assert len({case.input["text"] for case in cases}) == len(cases)


def test_a_long_document_is_folded_and_a_short_one_is_not() -> None:
    assert shortened("a\nb") == "a\nb"
    assert len(shortened("\n".join(["x" * 200] * 500)).splitlines()) == 56


def test_a_score_is_never_printed_without_its_interval() -> None:
    text = score_text(Score(mean=0.7, low=0.6, high=0.8, cases=60, grader_hash="g"))
    assert text == "70.0% [60.0%, 80.0%] on 60 cases"
    assert score_text(None) == "not tried"
