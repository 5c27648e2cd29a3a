"""Settings that every process shares; a service adds its own under its own prefix.

Environment variables are `EVOLINE_<FIELD>`; secrets also come from files named by `EVOLINE_<FIELD>_FILE`.
"""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from pydantic import Field, SecretStr
from pydantic_settings import BaseSettings, SettingsConfigDict


class SharedSettings(BaseSettings):
    model_config = SettingsConfigDict(env_prefix="EVOLINE_", frozen=True, extra="ignore")

    nats_url: str = "nats://127.0.0.1:4222"
    nats_user: str = ""
    nats_password: SecretStr = SecretStr("")
    mongo_url: SecretStr = SecretStr("mongodb://127.0.0.1:27017/?replicaSet=rs0")
    http_host: str = "127.0.0.1"
    http_port: int = Field(default=0, ge=0, le=65535)
    """Where /metrics, /health and /ready are served; 0 takes any free port and logs it."""
    log_level: Literal["debug", "info", "warning", "error"] = "info"
    log_format: Literal["json", "text"] = "json"
    otlp_endpoint: str = ""
    """OTLP/HTTP traces endpoint, as `http://collector:4318/v1/traces`; empty turns tracing export off."""
    pipelines_dir: Path = Path("pipelines")
    """Folder that holds `meta/` and `library/`."""
    guardrail_public_key_file: Path = Path(".evoline/keys/guardrail.pub")
    """Ed25519 public keys (PEM, one or more) that attestations are verified with."""


class ProviderSettings(BaseSettings):
    """Which provider serves a step family, and with which model. Keys come from the providers' own variables.

    Without a key the family is served by the local model server through the same SDK."""

    model_config = SettingsConfigDict(env_prefix="EVOLINE_", frozen=True, extra="ignore", populate_by_name=True)

    anthropic_api_key: SecretStr = Field(default=SecretStr(""), validation_alias="ANTHROPIC_API_KEY")
    gemini_api_key: SecretStr = Field(default=SecretStr(""), validation_alias="GEMINI_API_KEY")
    local_model_url: str = "http://127.0.0.1:8089"
    claude_base_url: str = ""
    """Overrides the endpoint of the `claude` family; empty means api.anthropic.com with a key, else the local model."""
    gemini_base_url: str = ""
    claude_model: str = "claude-haiku-5-5"
    gemini_model: str = "gemini-3.5-flash-lite"
    cassette: str = ""
    """`record:FILE` keeps every model call in a file, `replay:FILE` answers from it without a provider."""
    provider_timeout_seconds: float = Field(default=60.0, gt=0)
    provider_concurrency: int = Field(default=4, ge=1)
    """Calls in flight to one provider from one executor."""
