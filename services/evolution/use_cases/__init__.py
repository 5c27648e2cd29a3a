"""Verbs of evolution: start one, measure candidates, hear the verdict."""

from __future__ import annotations

from services.evolution.use_cases.bound import Effects, Evolution
from services.evolution.use_cases.evolve import give_up_evolution, start_evolution
from services.evolution.use_cases.lending import remember_template
from services.evolution.use_cases.stopping import stop_evolution
from services.evolution.use_cases.verdicts import forget, read_evolution, record_gate, record_verdict

__all__ = [
    "Effects",
    "Evolution",
    "forget",
    "give_up_evolution",
    "read_evolution",
    "record_gate",
    "record_verdict",
    "remember_template",
    "start_evolution",
    "stop_evolution",
]
