"""Settings that every process shares; a service adds its own under its own prefix.

Environment variables are `EVOLINE_<FIELD>`; secrets also come from files named by `EVOLINE_<FIELD>_FILE`.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

from pydantic import Field, SecretStr
from pydantic_settings import BaseSettings, EnvSettingsSource, PydanticBaseSettingsSource, SettingsConfigDict

from shared.errors import ConfigurationError


class SecretFiles(EnvSettingsSource):
    """Secrets from the files that `<VARIABLE>_FILE` names; one line break at the end is no part of the secret."""

    def __call__(self) -> dict[str, Any]:
        """Raises ConfigurationError where a named file cannot be read."""
        found: dict[str, Any] = {}
        for name, field in self.settings_cls.model_fields.items():
            if field.annotation is not SecretStr:
                continue
            for key, variable, _ in self._extract_field_info(field, name):
                if path := self.env_vars.get(f"{variable}_file".lower()):
                    found[key] = _read_secret(Path(path), f"{variable}_file".upper())
        return found


def _read_secret(path: Path, variable: str) -> str:
    try:
        return path.read_text().removesuffix("\n")
    except (OSError, UnicodeDecodeError) as error:
        reason = (error.strerror or "unreadable") if isinstance(error, OSError) else "not a text"
        raise ConfigurationError(f"{variable}: {path}: {reason}; make the secrets with `evoline secrets create`") from error


class EvolineSettings(BaseSettings):
    """Settings from the environment; a variable that is set goes before the file that `<VARIABLE>_FILE` names."""

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        return init_settings, env_settings, SecretFiles(settings_cls)


class SharedSettings(EvolineSettings):
    model_config = SettingsConfigDict(env_prefix="EVOLINE_", frozen=True, extra="ignore")

    nats_url: str = "nats://127.0.0.1:4222"
    nats_user: str = ""
    """Name of the broker's user; its answers arrive under `_INBOX.<user>`."""
    nats_seed_file: Path | None = None
    """Private key (nkey seed) that proves the user; without one, the password does."""
    nats_password: SecretStr = SecretStr("")
    mongo_url: SecretStr = SecretStr("mongodb://127.0.0.1:27017/?replicaSet=rs0")
    mongo_user: str = ""
    """User of the store; empty where its address names one, or it asks for none."""
    mongo_password: SecretStr = SecretStr("")
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
    identities_file: Path = Path(".evoline/keys/identities.yaml")
    """Registry of who may sign messages; read again when it changes."""
    identity_key_file: Path | None = None
    """Private key (PEM, mode 600) that this process signs with; the file is named after its identity."""


class ProviderSettings(EvolineSettings):
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
