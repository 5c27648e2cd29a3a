"""Verbs of learning: remember what was measured, mine it, and compare what was claimed with what production shows."""

from __future__ import annotations

from services.learner.use_cases.gains import (
    Gains,
    attribute,
    forget_outcomes,
    note_claim,
    note_report,
    note_rollout,
    note_served,
    strategies,
    tell_standing,
)
from services.learner.use_cases.learning import (
    Effects,
    Learner,
    adopt_template,
    forget,
    forget_runs,
    knowledge,
    learn_from_runs,
    remember_run,
    remember_score,
)

__all__ = [
    "Effects",
    "Gains",
    "Learner",
    "adopt_template",
    "attribute",
    "forget",
    "forget_outcomes",
    "forget_runs",
    "knowledge",
    "learn_from_runs",
    "note_claim",
    "note_report",
    "note_rollout",
    "note_served",
    "remember_run",
    "remember_score",
    "strategies",
    "tell_standing",
]
