"""Who may call now: one executor's decision on the shared document, for all of its waiting calls at once. Pure."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Generic

from services.executor.domain.limits.fair_queue import C, FairQueue, Waiting
from services.executor.domain.limits.listed import ProviderLimit
from services.executor.domain.limits.shared import HELD_SECONDS, Holding, SharedLimit

HEAD_START_SECONDS = 0.02
"""How long a tenant that had more than its share leaves what has just become free to others, in other executors too."""
LINGER_SECONDS = 1.0
"""How long a tenant counts as one of those who share, after its last call."""
KEPT_PLACES = 0.05
"""Share of the calls in flight that only tenants with less than their share may use."""


@dataclass(frozen=True)
class Returned:
    """What was taken and not used; less than nothing where more was used than taken."""

    requests: int = 0
    tokens: int = 0

    def __add__(self, other: Returned) -> Returned:
        return Returned(self.requests + other.requests, self.tokens + other.tokens)


@dataclass(frozen=True)
class Taken(Generic[C]):
    shared: SharedLimit
    calls: list[C]
    again_at: float
    """When looking again may help; infinite where only a change by somebody can."""


@dataclass
class Taking:
    """One look at the document, at one moment, by one executor. `waiting`: tenants that wait here."""

    limit: ProviderLimit
    me: str
    now: float
    shared: SharedLimit
    waiting: Iterable[str] = ()

    def __post_init__(self) -> None:
        shared = self.shared = self.shared.at(self.now)
        self.requests, self.tokens = self.limit.requests, self.limit.tokens
        self.requests_empty_at, self.tokens_empty_at = shared.requests_empty_at, shared.tokens_empty_at
        self.freed_at = shared.freed_at
        self.served = dict(shared.served_until)
        self.flying = shared.in_flight()
        self.mine = Counter(shared.holdings[self.me].calls if self.me in shared.holdings else {})

    def report(self, in_flight: Mapping[str, int], returned: Returned) -> None:
        """Brings what this executor holds up to date, and gives back what it did not use."""
        if self.requests is not None:
            self.requests_empty_at -= self.requests.cost(returned.requests)
        if self.tokens is not None:
            self.tokens_empty_at -= self.tokens.cost(returned.tokens)
        if sum(in_flight.values()) < self.mine.total():
            self.freed_at = self.now
        self.flying = self.flying - self.mine + Counter(in_flight)
        self.mine = Counter(in_flight)

    def load(self, tenant: str) -> tuple[float, ...]:
        """Whose turn is first: who is least ahead of its share, then who has the fewest calls in flight."""
        return (self.ahead_seconds(tenant), self.flying[tenant])

    def due_at(self, call: Waiting) -> float:
        burden = self._burden(call)
        due = [self._place_free_at(call.tenant)]
        if self.requests is not None:
            due.append(self.requests.due_at(self.requests_empty_at, 1, self.now, burden))
        if self.tokens is not None:
            due.append(self.tokens.due_at(self.tokens_empty_at, call.tokens, self.now, burden))
        return max(due) + HEAD_START_SECONDS * burden

    def take(self, call: Waiting) -> None:
        if self.requests is not None:
            self.requests_empty_at = self.requests.taken(self.requests_empty_at, 1, self.now)
        if self.tokens is not None:
            self.tokens_empty_at = self.tokens.taken(self.tokens_empty_at, call.tokens, self.now)
        self._serve(call)
        self.flying[call.tenant] += 1
        self.mine[call.tenant] += 1

    def outcome(self) -> SharedLimit:
        """The document as it is to be."""
        holdings = {name: held for name, held in self.shared.holdings.items() if name != self.me}
        if self.limit.concurrency is not None and self.mine.total():
            calls = {tenant: count for tenant, count in self.mine.items() if count}
            holdings[self.me] = Holding(calls=calls, until=self.now + HELD_SECONDS)
        return SharedLimit(
            requests_empty_at=self.requests_empty_at,
            tokens_empty_at=self.tokens_empty_at,
            freed_at=self.freed_at,
            served_until=self.served,
            holdings=holdings,
        )

    def ahead_seconds(self, tenant: str) -> float:
        """How far a tenant is ahead of its fair share; nothing where no rate is limited."""
        if self.requests is None and self.tokens is None:
            return 0.0
        return max(0.0, self.served.get(tenant, 0.0) - self.now)

    def _cost(self, call: Waiting) -> float:
        """The larger of both shares of a minute that it takes."""
        return max(self.requests.cost(1) if self.requests else 0.0, self.tokens.cost(call.tokens) if self.tokens else 0.0)

    def _sharing(self, tenant: str) -> int:
        """How many tenants the limit is shared by at present."""
        return len({tenant, *self.waiting, *self.served, *(name for name, count in self.flying.items() if count)})

    def _most_ahead(self, call: Waiting) -> float:
        """A tenant that used what nobody else wanted is not made to wait for all of it later."""
        return max(LINGER_SECONDS, 4 * self._cost(call) * self._sharing(call.tenant))

    def _burden(self, call: Waiting) -> float:
        """0 for a tenant within its fair share, up to 1 for one that is far ahead of it."""
        places = self.limit.concurrency
        if places is not None and (self.flying[call.tenant] + 1) * self._sharing(call.tenant) > places:
            return 1.0
        return min(1.0, self.ahead_seconds(call.tenant) / self._most_ahead(call))

    def _place_free_at(self, tenant: str) -> float:
        """Since when another call may be in flight; infinite where none may."""
        places = self.limit.concurrency
        if places is None:
            return 0.0
        is_above = (self.flying[tenant] + 1) * self._sharing(tenant) > places and self._sharing(tenant) > 1
        kept = int(places * KEPT_PLACES) if is_above else 0
        return self.freed_at if self.flying.total() < places - kept else math.inf

    def _serve(self, call: Waiting) -> None:
        begun = max(self.now, self.served.get(call.tenant, 0.0))
        served = begun + self._cost(call) * self._sharing(call.tenant)
        if self.requests is None and self.tokens is None:
            served = self.now + LINGER_SECONDS
        self.served[call.tenant] = min(served, self.now + self._most_ahead(call))


def take_turns(taking: Taking, queue: FairQueue[C], room: int) -> Taken[C]:
    """Lets waiting calls go, one tenant's after another's, as far as the limit and `room` in this executor allow."""
    calls: list[C] = []
    passed: Counter[str] = Counter()
    while len(calls) < room:
        heads = queue.heads(taking.load, passed)
        call = next((head for head in heads if taking.due_at(head) <= taking.now), None)
        if call is None:
            break
        taking.take(call)
        calls.append(call)
        passed[call.tenant] += 1
    left = queue.heads(taking.load, passed)
    again_at = min((taking.due_at(head) for head in left), default=math.inf)
    return Taken(taking.outcome(), calls, again_at)
