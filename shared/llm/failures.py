"""How a provider's failure becomes one of our errors, and what of it may be told.

| status | error |
|---|---|
| 408, 504 | `ProviderError("timeout")` |
| 429 | `ProviderError("rate_limit")` with Retry-After |
| 503, 529 | `ProviderError("overload")` with Retry-After |
| other 5xx | `ProviderError("server")` |
| other 4xx | `ProviderRefusedError`: asking again changes nothing |
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

from shared.errors import EvolineError, ProviderError, ProviderRefusedError

LONGEST_MESSAGE = 500
TIMEOUT_STATUSES = frozenset({408, 504})
OVERLOAD_STATUSES = frozenset({503, 529})
STATUS_OF_TYPE = {
    "invalid_request_error": 400,
    "authentication_error": 401,
    "billing_error": 402,
    "permission_error": 403,
    "not_found_error": 404,
    "request_too_large": 413,
    "rate_limit_error": 429,
    "api_error": 500,
    "timeout_error": 504,
    "overloaded_error": 529,
}
"""Anthropic's error types, which name what went wrong where no status does: in the middle of a stream, inside a batch."""


class Failures:
    """Builds errors of one provider; nothing secret survives in their text."""

    def __init__(self, provider: str, secret: str) -> None:
        self._provider = provider
        self._secret = secret

    def of_status(self, status: int, reason: str, headers: Mapping[str, str]) -> EvolineError:
        text = self._text(f"{status} {reason}")
        if status == 429:
            return ProviderError("rate_limit", text, retry_after_seconds(headers))
        if status in OVERLOAD_STATUSES:
            return ProviderError("overload", text, retry_after_seconds(headers))
        if status in TIMEOUT_STATUSES:
            return ProviderError("timeout", text)
        if status >= 500:
            return ProviderError("server", text, retry_after_seconds(headers))
        return ProviderRefusedError(text)

    def of_type(self, kind: str, reason: str) -> EvolineError:
        """An error that is told by its type alone; an unknown type counts as the provider's fault."""
        return self.of_status(STATUS_OF_TYPE.get(kind, 500), f"{kind}: {reason}", {})

    def timeout(self, seconds: float) -> ProviderError:
        return ProviderError("timeout", self._text(f"no answer within {seconds:g} s"))

    def connection(self, reason: str) -> ProviderError:
        return ProviderError("connection", self._text(f"connection failed: {reason}"))

    def unfinished(self, *, has_begun: bool) -> ProviderError:
        """Of a stream that ended in good order, but before its answer did."""
        if has_begun:
            return self.connection("the stream ended before the answer did")
        return self.invalid_answer("the stream holds no answer")

    def invalid_answer(self, reason: str) -> ProviderError:
        return ProviderError("invalid_answer", self._text(f"the answer cannot be used: {reason}"))

    def refused(self, reason: str) -> ProviderRefusedError:
        return ProviderRefusedError(self._text(reason))

    def _text(self, reason: str) -> str:
        clean = reason.replace(self._secret, "[redacted]") if self._secret else reason
        return f"{self._provider}: {clean[:LONGEST_MESSAGE]}"


def retry_after_seconds(headers: Mapping[str, str]) -> float | None:
    """Seconds that Retry-After asks for, given as a number or an HTTP date; None without one or when it makes no sense."""
    value = next((value for name, value in headers.items() if name.lower() == "retry-after"), "").strip()
    try:
        seconds = float(value)
    except ValueError:
        seconds = _seconds_until(value)
    return seconds if 0 <= seconds < 24 * 3600 else None


def _seconds_until(date: str) -> float:
    try:
        moment = parsedate_to_datetime(date)
    except ValueError:
        return -1.0
    aware = moment if moment.tzinfo else moment.replace(tzinfo=UTC)
    return max(0.0, (aware - datetime.now(UTC)).total_seconds())
