"""Settings of analytics: `EVOLINE_ANALYTICS_<FIELD>`."""

from __future__ import annotations

from pydantic import Field
from pydantic_settings import BaseSettings, SettingsConfigDict


class AnalyticsSettings(BaseSettings):
    model_config = SettingsConfigDict(env_prefix="EVOLINE_ANALYTICS_", frozen=True, extra="ignore")

    publish_interval_seconds: float = Field(default=1.0, ge=0)
    """Least time between two `PipelineMeasured` of one revision."""
