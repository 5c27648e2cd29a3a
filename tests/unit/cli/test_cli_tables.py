"""What people read: texts without what only machines need."""

from __future__ import annotations

import yaml

from evoline.cli.output import moment
from evoline.cli.showing import as_yaml
from services.guardrail.adapters.files import DEFAULT_POLICY, read_policy
from shared.events.answers import Answered


def test_what_stands_twice_is_written_twice() -> None:
    """Anchors would be compared as differences, and copied into files."""
    shared = {"calls": 1, "words": ["a", "b"]}
    text = as_yaml({"first": shared, "second": shared})
    assert "&id" not in text and "*id" not in text
    assert yaml.safe_load(text) == {"first": shared, "second": shared}


def test_the_shipped_policy_is_shown_without_anchors() -> None:
    text = as_yaml(read_policy(DEFAULT_POLICY).document.model_dump(mode="json"))
    assert "&id" not in text


def test_an_answer_as_it_came_is_written_like_any_other_value() -> None:
    found = Answered({"name": "mood", "stable": None, "nested": Answered({"calls": 1}, "api.x")}, "api.guardrail.get_pipeline")
    assert yaml.safe_load(as_yaml(found)) == {"name": "mood", "stable": None, "nested": {"calls": 1}}


def test_moments_are_shown_to_the_second() -> None:
    assert moment("2026-11-26T21:35:53.123456+00:00") == "2026-11-26T21:35:53"
