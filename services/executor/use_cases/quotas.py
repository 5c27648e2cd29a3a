"""Quotas of production runs, without asking anybody a run: this executor leases a part from the guardrail and hands it out.

Where no quota is set nothing is asked or written for a run; what runs used is counted here and told every few seconds."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import structlog

from services.executor.domain.quotas import RESOURCES, Bound, Charged, Lease, RunQuota, most_of, plus, used_by, whole
from services.executor.domain.records import LOCAL_SEQUENCE, RunRecord
from services.executor.ports import LeasedRuns, Questions, QuotaRules
from shared.clock import Clock
from shared.errors import EvolineError, LimitReachedError, TransientError
from shared.events.answers import malformed, reading
from shared.events.quotas import CountLease, LeaseQuota, ProductionUse, QuotaLease, ReportUse, Spent
from shared.events.runs import RunFinished
from shared.pipeline.document import Limits

RULES_SECONDS = 10.0
"""How old what is known of the quotas may be."""
REFUSED_SECONDS = 2.0
"""After a refusal nobody is asked for so long: others give back only now and then."""
USEFUL_RUNS = 50
"""That one lease is asked for."""
MOST_TOLD = 500
"""Pipelines or leases in one report."""


@dataclass
class _Refusal:
    error: LimitReachedError
    until: float


class ProductionQuotas:
    def __init__(self, rules: QuotaRules, questions: Questions, runs: LeasedRuns, clock: Clock, holder: str) -> None:
        self._rules = rules
        self._questions = questions
        self._runs = runs
        self._clock = clock
        self._holder = holder
        self._bounds: tuple[Bound, ...] = ()
        self._read_at = float("-inf")
        self._reading = asyncio.Lock()
        self._current: dict[Charged, Lease] = {}
        self._leases: dict[str, Lease] = {}
        self._refusals: dict[Charged, _Refusal] = {}
        self._asking: dict[Charged, asyncio.Lock] = {}
        self._uses: dict[tuple[str, Charged], Spent] = {}
        self._unheard: list[ReportUse] = []
        """Told again under the same ids until the guardrail answers."""

    async def admitted(self, record: RunRecord, limits: Limits) -> RunRecord:
        """With what it holds, where something bounds it. Raises `LimitReachedError` (`quota_exhausted`), and `UnavailableError`
        where the lease is used up and the guardrail does not answer."""
        charged = _charged(record)
        resources = charged.bounded_resources(await self._known_bounds()) if charged else frozenset()
        if charged is None or not resources:
            return record
        wanted = most_of(limits, resources)
        async with self._asking.setdefault(charged, asyncio.Lock()):
            lease = self._current.get(charged)
            if lease is None or not lease.take(record.run_id, wanted, self._clock.monotonic()):
                lease = await self._leased(charged, wanted)
                self._current[charged] = self._leases[lease.lease_id] = lease
                lease.take(record.run_id, wanted, self._clock.monotonic())
        return record.model_copy(update={"quota": RunQuota(lease_id=lease.lease_id, held=wanted)})

    @contextmanager
    def held_by(self, record: RunRecord) -> Iterator[None]:
        """Until it ends here, or is given away."""
        try:
            yield
        finally:
            self.lost(record)

    def ended(self, record: RunRecord, finished: RunFinished) -> None:
        charged, used = _charged(record), used_by(finished)
        if charged is not None and record.quota is None:
            key = (finished.finished_at[:10], charged)
            self._uses[key] = plus(self._uses.get(key, Spent()), used)
        self._give_back(record, used)

    def lost(self, record: RunRecord) -> None:
        """The run goes on elsewhere, or later: how it ends is not known here."""
        self._give_back(record, None)

    def drop(self, record: RunRecord) -> None:
        """No run began with what it holds."""
        self._give_back(record, Spent())

    def _give_back(self, record: RunRecord, used: Spent | None) -> None:
        if record.quota is not None and record.quota.lease_id in self._leases:
            self._leases[record.quota.lease_id].give_back(record.run_id, record.quota.held, used)

    async def count(self, query: CountLease) -> dict[str, object]:
        used, running = await self._runs.under_lease(query.lease_id)
        return {"used": used.model_dump(), "running": running}

    async def tell(self, *, at_stop: bool = False) -> None:
        """Gives back leases that are over, or all when the process stops, unless runs are on them; tells what was used."""
        now = self._clock.monotonic()
        over = [each for each in self._leases.values() if not each.holders and (at_stop or now >= each.over_at)]
        for lease in over:
            del self._leases[lease.lease_id]
            if self._current.get(lease.charged) is lease:
                del self._current[lease.charged]
        self._unheard += self._reports([each for each in over if each.is_complete])
        for report in list(self._unheard):
            try:
                await self._questions.ask(report)
            except EvolineError as error:
                structlog.get_logger("services.executor").warning("use of quotas not told yet", error=str(error))
                if isinstance(error, TransientError):
                    return
                # What is wrong with one report is not wrong with the others.
                continue
            self._unheard.remove(report)

    def _reports(self, leases: list[Lease]) -> list[ReportUse]:
        uses, self._uses = self._uses, {}
        by_day: dict[str, list[ProductionUse]] = {}
        for (day, charged), used in uses.items():
            use = ProductionUse(pipeline=charged.pipeline, domain=charged.domain, nested=charged.nested, used=used)
            by_day.setdefault(day, []).append(use)
        today = self._clock.now().date().isoformat()
        told = [
            self._report(day, tuple(found[at : at + MOST_TOLD]), {})
            for day, found in by_day.items()
            for at in range(0, len(found), MOST_TOLD)
        ]
        given = [{each.lease_id: each.used for each in leases[at : at + MOST_TOLD]} for at in range(0, len(leases), MOST_TOLD)]
        return [*told, *(self._report(today, (), each) for each in given)]

    def _report(self, day: str, uses: tuple[ProductionUse, ...], leases: Mapping[str, Spent]) -> ReportUse:
        return ReportUse(report_id=uuid.uuid4().hex, day=day, uses=uses, leases=dict(leases))

    async def _leased(self, charged: Charged, wanted: Spent) -> Lease:
        now = self._clock.monotonic()
        if (refusal := self._refusals.get(charged)) and now < refusal.until:
            raise refusal.error
        query = LeaseQuota(
            lease_id=uuid.uuid4().hex,
            holder=self._holder,
            pipeline=charged.pipeline,
            domain=charged.domain,
            nested=charged.nested,
            per_run=wanted,
            runs=USEFUL_RUNS,
        )
        try:
            answer = await self._questions.ask(query)
        except LimitReachedError as error:
            self._refusals[charged] = _Refusal(error, now + REFUSED_SECONDS)
            raise
        lease = _lease_in(answer, query)
        return Lease(query.lease_id, charged, lease.amounts, over_at=now + lease.seconds)

    async def _known_bounds(self) -> tuple[Bound, ...]:
        """Who comes while they are read waits for them: before that is done nothing says that a run is not bounded."""
        if self._is_old():
            async with self._reading:
                if self._is_old():
                    began = self._clock.monotonic()
                    self._bounds, self._read_at = await self._rules.bounds(), began
        return self._bounds

    def _is_old(self) -> bool:
        return self._clock.monotonic() - self._read_at >= RULES_SECONDS


def _lease_in(answer: Mapping[str, Any], query: LeaseQuota) -> QuotaLease:
    """Raises `UnavailableError` for what is no answer to this question: no run begins on it."""
    with reading(query):
        lease = QuotaLease.model_validate(answer)
    if lease.lease_id != query.lease_id or lease.runs > query.runs:
        raise malformed(query.subject, f"{lease.runs} runs under {lease.lease_id}, asked were {query.runs} under {query.lease_id}")
    for name in RESOURCES:
        each, given = getattr(query.per_run, name), getattr(lease.amounts, name)
        if whole(name, given) != whole(name, each) * lease.runs:
            raise malformed(query.subject, f"{given:.10g} {name} for {lease.runs} runs of {each:.10g} each")
    return lease


def _charged(record: RunRecord) -> Charged | None:
    """A run under a trial scope is charged to that; any other is production, whatever purpose it claims. What a run nests itself,
    or lets take from its pool, is a part of it."""
    if record.command.scope is not None:
        return None
    nested = record.command_sequence == LOCAL_SEQUENCE or bool(record.command.pools)
    return Charged(record.pipeline, record.domain, nested)
