from __future__ import annotations

from typing import Any

import pytest

from services.guardrail.domain.diff import RISK, Revision, compare, risk_of
from shared.pipeline.facts import document_facts
from shared.pipeline.loading import load_document
from tests.fakes.guardrail import pipeline


def revision(**fields: Any) -> Revision:
    document = load_document(pipeline(**fields))
    return Revision(document, document_facts(document))


def steps(*more: dict[str, Any], **first: Any) -> list[dict[str, Any]]:
    return [{"name": "classify", "type": "claude", "prompt": "Say the sentiment of: {{ text }}", **first}, *more]


def kinds(old: Revision | None, new: Revision, **how: bool) -> set[str]:
    return set(compare(old, new, **how).kinds)


def test_a_new_pipeline_is_only_that() -> None:
    assert kinds(None, revision()) == {"new_pipeline"}
    assert kinds(None, revision(), template=True) == {"new_template"}


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({"prompt": "Name the sentiment of: {{ text }}"}, {"prompt_text"}),
        ({"steps": steps(temperature=0.9)}, {"parameter"}),
        ({"steps": steps(type="gemini")}, {"parameter", "new_step_type", "new_provider"}),
        ({"steps": steps(model="claude-opus-5-5")}, {"parameter", "new_model"}),
        (
            {"steps": steps({"name": "again", "type": "claude", "prompt": "Check {{ steps.classify.text }}"})},
            {"step_added", "prompt_text", "parameter"},
        ),
        ({"limits": {"calls": 200}}, {"wider_limits"}),
        ({"limits": {"calls": 20}}, {"parameter"}),
        ({"domain": "finance"}, {"new_domain"}),
        ({"outputs": {"label": "{{ steps.classify.text }}"}}, {"contract"}),
    ],
)
def test_each_kind_of_change_is_told_apart(fields: dict[str, Any], expected: set[str]) -> None:
    assert kinds(revision(), revision(**fields)) == expected


def test_removing_a_step_is_seen() -> None:
    two = revision(steps=steps({"name": "again", "type": "claude", "prompt": "Check {{ steps.classify.text }}"}))
    assert "step_removed" in kinds(two, revision())


def test_a_meta_pipeline_is_marked_whatever_changes() -> None:
    assert "meta_pipeline" in kinds(revision(), revision(prompt="Name it: {{ text }}"), meta=True)


def test_risk_grows_with_what_changes_and_stays_below_one() -> None:
    text = risk_of(compare(revision(), revision(prompt="Name it: {{ text }}")))
    provider = risk_of(compare(revision(), revision(steps=steps(type="gemini"))))
    everything = risk_of(
        compare(revision(), revision(steps=steps(type="gemini"), domain="finance", limits={"calls": 900}), meta=True)
    )
    assert 0 < text.score == RISK["prompt_text"][0] < provider.score < everything.score < 1
    assert everything.reasons[0] == "is one of the system's own pipelines"


def test_the_same_revision_has_no_diff_and_no_risk() -> None:
    diff = compare(revision(), revision())
    assert diff.lines == ()
    assert risk_of(diff).score == 0.0


def test_the_diff_reads_as_lines_with_old_and_new() -> None:
    lines = compare(revision(), revision(prompt="Name it: {{ text }}", limits={"calls": 20})).lines
    assert "+ limits.calls: 20" in lines
    assert any(line.startswith("~ steps.classify.prompt: ") and "->" in line for line in lines)


def test_an_inserted_step_does_not_make_the_others_look_changed() -> None:
    inserted = [{"name": "clean", "type": "claude", "prompt": "Clean {{ text }}"}, *steps()]
    lines = compare(revision(), revision(steps=inserted)).lines
    assert not any("steps.classify" in line for line in lines)
