"""Settings of the generator: `EVOLINE_GENERATOR_<FIELD>`."""

from __future__ import annotations

from pydantic import Field
from pydantic_settings import BaseSettings, SettingsConfigDict


class GeneratorSettings(BaseSettings):
    model_config = SettingsConfigDict(env_prefix="EVOLINE_GENERATOR_", frozen=True, extra="ignore")

    concurrency: int = Field(default=2, ge=1)
    """Requests worked on at the same time by one generator."""
    trial_in_flight: int = Field(default=4, ge=1)
    """Trial runs in flight a request."""
    synthesis_seconds: float = Field(default=25.0, gt=0)
    """How long the model may take to write a pipeline; the templates' trials go on meanwhile."""
