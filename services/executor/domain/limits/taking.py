"""Who may call now: one executor's decision on the shared document, for all of its waiting calls at once. Pure."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Generic

from services.executor.domain.limits.fair_queue import C, FairQueue, Waiting
from services.executor.domain.limits.listed import ProviderLimit
from services.executor.domain.limits.shared import HELD_SECONDS, Holding, SharedLimit

HEAD_START_SECONDS = 0.02
"""How long what has just become free is left to those who wait and had less, in other executors too."""
FAIR_CALLS = 2
"""So many calls ahead of its fair share, or waiting, are chance; twice as many are a flood."""
MOST_CALLS = 6
"""How far ahead a tenant counts at most: for what nobody else wanted it is not made to wait long later."""
LINGER_SECONDS = 1.0
"""How long a tenant counts as one of those who share, after its last call."""
BELIEVED_SECONDS = 3.0
"""How long others believe that a tenant waits here."""
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
    has_news: bool
    """Others should know who has to wait here."""


@dataclass
class Taking:
    """One look at the document, at one moment, by one executor. `waiting`: how many calls of each tenant wait here."""

    limit: ProviderLimit
    me: str
    now: float
    shared: SharedLimit
    waiting: Mapping[str, int] = field(default_factory=dict)

    def __post_init__(self) -> None:
        shared = self.shared = self.shared.at(self.now)
        self.requests, self.tokens = self.limit.requests, self.limit.tokens
        self.requests_empty_at, self.tokens_empty_at = shared.requests_empty_at, shared.tokens_empty_at
        self.freed_at = shared.freed_at
        self.served = dict(shared.served_until)
        self.elsewhere = dict(shared.waiting_until)
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
        """Whose turn is first: whose share covered least lately; where no rate is limited, who has the fewest calls in flight."""
        served = self.served.get(tenant, 0.0)
        return (self.flying[tenant], served) if self.requests is None and self.tokens is None else (served, self.flying[tenant])

    def due_at(self, call: Waiting) -> float:
        yields = self._yields(call.tenant)
        burden = 1.0 if yields else self._burden(call)
        due = [self._place_free_at(call.tenant)]
        if self.requests is not None:
            due.append(self.requests.due_at(self.requests_empty_at, 1, burden))
        if self.tokens is not None:
            due.append(self.tokens.due_at(self.tokens_empty_at, call.tokens, burden))
        return max(due) + (HEAD_START_SECONDS if yields else 0.0)

    def take(self, call: Waiting) -> None:
        if self.requests is not None:
            self.requests_empty_at = self.requests.taken(self.requests_empty_at, 1, self.now)
        if self.tokens is not None:
            self.tokens_empty_at = self.tokens.taken(self.tokens_empty_at, call.tokens, self.now)
        self._serve(call)
        self.elsewhere.pop(call.tenant, None)
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
            waiting_until=self.elsewhere,
            holdings=holdings,
        )

    def announce(self, tenants: Iterable[str]) -> bool:
        """Tells the other executors who waits here; whether there is a need to."""
        unknown = [tenant for tenant in tenants if self.elsewhere.get(tenant, 0.0) < self.now + BELIEVED_SECONDS / 2]
        self.elsewhere.update(dict.fromkeys(unknown, self.now + BELIEVED_SECONDS))
        return bool(unknown)

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
        recent = (name for name, until in self.served.items() if until > self.now)
        flying = (name for name, count in self.flying.items() if count)
        return len({tenant, *self.waiting, *self.elsewhere, *recent, *flying})

    def _share_of_call(self, call: Waiting) -> float:
        """How long a tenant's fair share takes to cover this call."""
        return self._cost(call) * self._sharing(call.tenant)

    def _yields(self, tenant: str) -> bool:
        """Somebody waits, here or elsewhere, who had less."""
        mine = self.load(tenant)
        return any(self.load(other) < mine for other in {*self.waiting, *self.elsewhere})

    def _burden(self, call: Waiting) -> float:
        """0 for a tenant within its fair share, up to 1 for one far ahead of it, or with many calls that wait: from that one
        something is kept for others."""
        places = self.limit.concurrency
        if places is not None and (self.flying[call.tenant] + 1) * self._sharing(call.tenant) > places:
            return 1.0
        ahead = self.ahead_seconds(call.tenant)
        calls = max(ahead / self._share_of_call(call) if ahead else 0.0, self.waiting.get(call.tenant, 0))
        return min(1.0, max(0.0, calls / FAIR_CALLS - 1))

    def _place_free_at(self, tenant: str) -> float:
        """Since when another call may be in flight; infinite where none may."""
        places = self.limit.concurrency
        if places is None:
            return 0.0
        is_above = (self.flying[tenant] + 1) * self._sharing(tenant) > places and self._sharing(tenant) > 1
        kept = int(places * KEPT_PLACES) if is_above else 0
        return self.freed_at if self.flying.total() < places - kept else math.inf

    def _serve(self, call: Waiting) -> None:
        share = self._share_of_call(call)
        served = min(max(self.now, self.served.get(call.tenant, 0.0)) + share, self.now + MOST_CALLS * share)
        if self.requests is None and self.tokens is None:
            served = self.now + LINGER_SECONDS
        self.served[call.tenant] = served


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
    has_news = taking.announce(head.tenant for head in left)
    return Taken(taking.outcome(), calls, again_at, has_news)
