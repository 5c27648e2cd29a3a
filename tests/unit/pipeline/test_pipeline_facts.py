from __future__ import annotations

from typing import Any

import pytest

from shared.events.values import Budget, TrialScope
from shared.pipeline.facts import DocumentFacts, document_facts
from shared.pipeline.loading import load_document
from shared.pipeline.scope import check_scope


def facts(*steps: dict[str, Any], **keys: Any) -> DocumentFacts:
    return document_facts(load_document({"name": "p", "steps": list(steps), **keys}))


ASK = {"name": "ask", "type": "claude", "prompt": "x" * 400, "max_tokens": 100}


def test_a_call_costs_its_prompt_and_its_answer() -> None:
    found = facts(ASK)
    assert (found.estimated_calls, found.estimated_tokens, found.prompt_characters) == (1, 200, 400)


def test_loops_multiply_by_their_bound() -> None:
    loop = {"name": "all", "type": "for_loop", "items": "{{ tickets }}", "max_iterations": 7, "steps": [ASK]}
    found = facts({"name": "first", "type": "gemini", "prompt": "y"}, loop)
    assert found.estimated_calls == 8
    assert found.steps == 3
    assert found.families == ("claude", "gemini")
    assert found.step_types == ("claude", "for_loop", "gemini")


def test_a_fallback_counts() -> None:
    fallback = {"name": "f", "type": "gemini", "prompt": "y", "model": "big"}
    found = facts({**ASK, "on_error": {"fallback": fallback}})
    assert found.estimated_calls == 2
    assert found.families == ("claude", "gemini")
    assert found.models == ("big",)


def test_a_document_written_inside_a_step_does_not_hide_what_it_uses() -> None:
    inner = {"name": "inner", "steps": [{"name": "a", "type": "gemini", "prompt": "hi"}]}
    found = facts({"name": "nested", "type": "pipeline", "pipeline": inner})
    assert "gemini" in found.step_types
    assert found.families == ("gemini",)
    assert found.estimated_calls == 1


def test_references_of_nested_pipelines_are_facts() -> None:
    assert facts({"name": "nested", "type": "pipeline", "pipeline": "other@stable"}).nested == ("other@stable",)


SCOPE = TrialScope(
    scope_id="s",
    purpose="generation",
    holder="generator",
    domain="support",
    step_types=("claude",),
    providers=("claude",),
    functions=(),
    budget=Budget(runs=10, calls=5),
    expires_at="2030-01-01T00:00:00Z",
)


@pytest.mark.parametrize(
    ("steps", "keys", "reasons"),
    [
        ([ASK], {"domain": "support"}, []),
        ([ASK], {}, []),
        ([ASK], {"domain": "finance"}, ["domain `finance`"]),
        ([{**ASK, "type": "gemini"}], {}, ["step type `gemini`", "provider `gemini`"]),
        ([{**ASK, "name": f"s{n}"} for n in range(6)], {}, ["may make 6 provider calls"]),
    ],
)
def test_a_scope_refuses_whatever_it_does_not_name(steps: list[dict[str, Any]], keys: dict[str, Any], reasons: list[str]) -> None:
    found = check_scope(facts(*steps, **keys), SCOPE)
    assert len(found) == len(reasons)
    assert all(reason in problem.reason for reason, problem in zip(reasons, found, strict=True))
