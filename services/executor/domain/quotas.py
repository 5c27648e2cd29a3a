"""What production runs may use of the day's quotas: which of them are bounded, and what one run holds."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from fnmatch import fnmatchcase

from pydantic import BaseModel, ConfigDict

from shared.events.quotas import Spent
from shared.events.runs import RunFinished
from shared.pipeline.document import Limits

RESOURCES = tuple(Spent.model_fields)
_UNITS = {"cost_usd": 1_000_000, "cpu_seconds": 1_000, "wall_seconds": 1_000}
"""The guardrail counts in millionths of a dollar and thousandths of a second; of everything else in whole ones."""


class Bound(BaseModel):
    """Accounts that match are bounded in these resources, as the guardrail says."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    account: str
    resources: tuple[str, ...]


class RunQuota(BaseModel):
    """What a run holds of a lease until it ends; kept with the run."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    lease_id: str
    held: Spent


@dataclass(frozen=True)
class Charged:
    """Whose quotas a run uses."""

    pipeline: str
    domain: str
    nested: bool = False
    """Inside another run, which is charged for it: only the pipeline's own quota counts."""

    @property
    def accounts(self) -> tuple[str, ...]:
        own = f"production_pipeline:{self.pipeline}"
        return (own,) if self.nested else ("system", "purpose:production", f"production_domain:{self.domain}", own)

    def bounded_resources(self, bounds: Sequence[Bound]) -> frozenset[str]:
        matching = [bound for bound in bounds for account in self.accounts if fnmatchcase(account, bound.account)]
        return frozenset(name for bound in matching for name in bound.resources)


def whole(name: str, amount: float) -> int:
    """An amount of this resource in the units that the guardrail counts."""
    return round(amount * _UNITS.get(name, 1))


def most_of(limits: Limits, resources: frozenset[str]) -> Spent:
    """What one run may use of these at most, rounded up to what is counted: a lease of less would hold no run. CPU seconds are not
    held: nobody counts a run's."""
    every: dict[str, float] = {
        "runs": 1,
        "calls": limits.calls,
        "tokens": limits.tokens,
        "cost_usd": limits.cost_usd,
        "wall_seconds": limits.seconds,
    }
    return Spent.model_validate({name: _rounded_up(name, amount) for name, amount in every.items() if name in resources})


def _rounded_up(name: str, amount: float) -> float:
    if name not in _UNITS:
        return amount
    # What is whole but for the last bits of a float stays what it is.
    return math.ceil(round(amount * _UNITS[name], 3)) / _UNITS[name]


def used_by(finished: RunFinished) -> Spent:
    usage = finished.usage
    return Spent(
        runs=1,
        calls=usage.calls,
        tokens=usage.input_tokens + usage.output_tokens,
        cost_usd=usage.cost_usd,
        wall_seconds=finished.latency_seconds,
    )


def plus(first: Spent, second: Spent) -> Spent:
    return Spent(**{name: getattr(first, name) + getattr(second, name) for name in RESOURCES})


@dataclass
class Lease:
    """A part of the quotas that this executor hands out. Amounts that nobody bounded are not in it and not looked at."""

    lease_id: str
    charged: Charged
    left: Spent
    over_at: float
    """Monotonic: from then on nothing is taken from it."""
    used: Spent = field(default_factory=Spent)
    holders: set[str] = field(default_factory=set)
    """Runs."""
    is_complete: bool = True
    """False where some run's end is not known here: then only the runs' documents tell what was used."""

    def take(self, run_id: str, wanted: Spent, now: float) -> bool:
        if now >= self.over_at or any(self._lacks(name, wanted) for name in RESOURCES):
            return False
        self.left = _minus(self.left, wanted)
        self.holders.add(run_id)
        return True

    def _lacks(self, name: str, wanted: Spent) -> bool:
        """In counted units: the last bits of a float cost no run."""
        return whole(name, getattr(wanted, name)) > whole(name, getattr(self.left, name))

    def give_back(self, run_id: str, held: Spent, used: Spent | None) -> None:
        """`used` is None where it is not known: then nothing comes back. A run gives back once."""
        if run_id not in self.holders:
            return
        self.holders.discard(run_id)
        if used is None:
            self.is_complete = False
            return
        self.used = plus(self.used, used)
        self.left = plus(self.left, _minus(held, used))


def _minus(first: Spent, second: Spent) -> Spent:
    return Spent(**{name: max(0, getattr(first, name) - getattr(second, name)) for name in RESOURCES})
