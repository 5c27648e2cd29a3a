"""Settings of evolution: `EVOLINE_EVOLUTION_<FIELD>`."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field, StringConstraints
from pydantic_settings import BaseSettings, SettingsConfigDict


class EvolutionSettings(BaseSettings):
    model_config = SettingsConfigDict(env_prefix="EVOLINE_EVOLUTION_", frozen=True, extra="ignore")

    concurrency: int = Field(default=2, ge=1)
    """Evolutions worked on at the same time by one process."""
    in_flight: int = Field(default=8, ge=1)
    """Evaluations in flight an evolution."""
    run_seconds: float = Field(default=60.0, gt=0)
    """How long one evaluation may take, waiting for an executor included, before it counts as failed."""
    models: tuple[Annotated[str, StringConstraints(pattern=r"^(claude|gemini):[\w.-]+$")], ...] = ()
    """JSON list of `family:model`, cheapest first, strongest last: what searches may try for a step, or one after the other in a
    cascade. Empty: models stay as they are."""
    rewrites: int = Field(default=6, ge=0)
    """Reflective rewrites by a model an evolution; each costs one run beside the evaluations."""
