"""What a provider allows, as the operator lists it: one entry for a provider and a model."""

from __future__ import annotations

from collections import Counter
from urllib.parse import quote

from pydantic import BaseModel, ConfigDict, Field

from services.executor.domain.limits.buckets import Bucket
from shared.errors import ConfigurationError

SHORT_CALL_SECONDS = 0.02
"""A place for a call in flight that is free for a small part of this is as good as used."""


class ProviderLimit(BaseModel):
    """Absent means unlimited. All models whose name begins with `model` share the limit; empty stands for all of the provider."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    provider: str = Field(min_length=1)
    """`anthropic`, `google` or `local`."""
    model: str = ""
    requests_a_minute: int | None = Field(default=None, ge=1)
    tokens_a_minute: int | None = Field(default=None, ge=1)
    """Input and output together."""
    concurrency: int | None = Field(default=None, ge=1)
    """Calls in flight from all executors."""

    @property
    def is_limited(self) -> bool:
        return any(bound is not None for bound in (self.requests_a_minute, self.tokens_a_minute, self.concurrency))

    @property
    def requests(self) -> Bucket | None:
        return None if self.requests_a_minute is None else Bucket.of(self.requests_a_minute)

    @property
    def tokens(self) -> Bucket | None:
        return None if self.tokens_a_minute is None else Bucket.of(self.tokens_a_minute)

    @property
    def slack_seconds(self) -> float:
        """A small part of this time may be lost again and again without the limit being used less."""
        kept = [bucket.kept(bucket.seconds_each) for bucket in (self.requests, self.tokens) if bucket is not None]
        return min([*kept, *([SHORT_CALL_SECONDS] if self.concurrency is not None else [])], default=0.0)

    @property
    def name(self) -> str:
        return f"{self.provider}/{self.model or '*'}"

    @property
    def key(self) -> str:
        """Of letters, digits and `_ - = /` only; different limits have different keys."""
        return "/".join(
            quote(part or "*", safe="").replace(".", "%2E").replace("~", "%7E").replace("%", "=") for part in self.parts
        )

    @property
    def parts(self) -> tuple[str, str]:
        return self.provider, self.model


class LimitList(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")

    limits: tuple[ProviderLimit, ...] = ()

    def check(self) -> LimitList:
        """Raises `ConfigurationError` where two entries say what holds for the same model."""
        counts = Counter(limit.name for limit in self.limits)
        if twice := sorted(name for name, count in counts.items() if count > 1):
            raise ConfigurationError(f"limits are listed twice for {', '.join(twice)}")
        return self

    def of(self, provider: str, model: str) -> ProviderLimit:
        """The longest listed name that `model` begins with, since providers append dates and versions; else no limit."""
        fitting = [limit for limit in self.limits if limit.provider == provider and model.startswith(limit.model)]
        return max(fitting, key=lambda limit: len(limit.model), default=ProviderLimit(provider=provider, model=model))
