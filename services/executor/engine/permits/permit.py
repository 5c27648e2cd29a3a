"""One call that may be made, and what its caller tells about it."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from typing import Literal, Protocol

from services.executor.domain.limits.taking import Returned
from shared.errors import ProviderError

Reason = Literal["late", "paused", "unavailable"]
"""The limits were used up, the provider asked for a pause, or nobody could say whether a call is allowed."""


class NoPermitError(ProviderError):
    """The call was not made: its time would have been over before its turn. Another attempt may be lucky."""

    def __init__(self, message: str, reason: Reason, retry_after_seconds: float | None = None) -> None:
        super().__init__("rate_limit", message, retry_after_seconds)
        self.reason: Reason = reason


@dataclass(eq=False)
class Call:
    """One that waits for its turn."""

    tenant: str
    tokens: int
    deadline: float
    """Wall time; no permit is of use after it."""
    granted: asyncio.Future[None] = field(default_factory=lambda: asyncio.get_running_loop().create_future())
    is_granted: bool = False

    def grant(self) -> None:
        self.is_granted = True
        self.granted.set_result(None)


class Issuer(Protocol):
    def end(self, call: Call, returned: Returned) -> None: ...

    def learn(self, asked: int, used: int) -> None: ...

    def pause(self, seconds: float) -> None: ...


class Permit:
    """Until `begin` the call was not made, and everything is given back; after it tokens are, as far as `used` says so."""

    def __init__(self, issuer: Issuer, call: Call, most_tokens: int) -> None:
        self._issuer = issuer
        self._most_tokens = most_tokens
        self._call = call
        self._returned = Returned(requests=1, tokens=call.tokens)

    def begin(self) -> None:
        self._returned = Returned()

    def used(self, tokens: int) -> None:
        self._returned = Returned(tokens=self._call.tokens - tokens)
        if tokens:
            self._issuer.learn(self._most_tokens, tokens)

    def pause(self, seconds: float) -> None:
        """The provider wants no call for so long: from nobody."""
        self._issuer.pause(seconds)

    def end(self) -> None:
        self._issuer.end(self._call, self._returned)
