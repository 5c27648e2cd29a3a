"""Whether a document stays inside what a trial scope allows."""

from __future__ import annotations

from shared.errors import Problem
from shared.events.values import TrialScope
from shared.pipeline.facts import DocumentFacts

ANY_DOMAIN = "general"
EFFECTFUL_STEP_TYPES = frozenset(("file_ops", "pipeline_deployer", "parallel_pipeline_executor"))
"""What they do is seen outside of the run, so a shadow run must not do it again."""


def check_scope(facts: DocumentFacts, scope: TrialScope) -> list[Problem]:
    """Everything that the scope does not allow; empty means that the document may run under it. Expiry is judged elsewhere."""
    allowed = (
        ("step type", facts.step_types, scope.step_types),
        ("provider", facts.families, scope.providers),
        ("function", facts.functions, scope.functions),
    )
    problems = [
        Problem(reason=f"{noun} `{name}` is outside the scope", suggestion=f"allowed: {', '.join(known) or 'none'}")
        for noun, used, known in allowed
        for name in used
        if name not in known
    ]
    if facts.domain not in (scope.domain, ANY_DOMAIN):
        reason = f"domain `{facts.domain}` is outside the scope"
        problems.append(Problem(path="domain", reason=reason, suggestion=f"allowed: {scope.domain}"))
    return [*problems, *_budget_problems(facts, scope)]


def _budget_problems(facts: DocumentFacts, scope: TrialScope) -> list[Problem]:
    if facts.estimated_calls <= scope.budget.calls:
        return []
    reason = f"one run may make {facts.estimated_calls} provider calls, the whole scope has {scope.budget.calls}"
    return [Problem(path="steps", reason=reason, suggestion="use fewer steps or smaller loops")]
