"""Verbs of experiments: start one, hear what became of its winner."""

from __future__ import annotations

from services.evolution.use_cases.experiments.bound import Laboratory
from services.evolution.use_cases.experiments.outcomes import (
    list_experiments,
    read_experiment,
    record_gate,
    record_rollout,
    record_verdict,
)
from services.evolution.use_cases.experiments.start import give_up_experiment, start_experiment
from services.evolution.use_cases.experiments.stopping import stop_experiment

__all__ = [
    "Laboratory",
    "give_up_experiment",
    "list_experiments",
    "read_experiment",
    "record_gate",
    "record_rollout",
    "record_verdict",
    "start_experiment",
    "stop_experiment",
]
