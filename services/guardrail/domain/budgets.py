"""Arithmetic of budgets: accounts, amounts, limits. Whole numbers only, so that sums are exact."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass, fields
from datetime import UTC, date, datetime, timedelta
from fnmatch import fnmatchcase
from typing import Any, Literal, get_args

from pydantic import BaseModel, ConfigDict, Field, field_validator

from shared.events.quotas import Spent
from shared.events.values import Budget

MILLION = 1_000_000
THOUSAND = 1_000
AccountKind = Literal["system", "purpose", "service", "domain", "pipeline", "group", "production_domain", "production_pipeline"]
KINDS: tuple[AccountKind, ...] = get_args(AccountKind)
"""In the order in which a refusal names them: the widest first."""


@dataclass(frozen=True)
class Amounts:
    """What is reserved, used or left."""

    runs: int = 0
    calls: int = 0
    tokens: int = 0
    micro_usd: int = 0
    cpu_ms: int = 0
    wall_ms: int = 0

    @classmethod
    def of_budget(cls, budget: Budget) -> Amounts:
        return cls(budget.runs, budget.calls, budget.tokens, round(budget.cost_usd * MILLION))

    @classmethod
    def of_spent(cls, spent: Spent) -> Amounts:
        seconds = (round(spent.cpu_seconds * THOUSAND), round(spent.wall_seconds * THOUSAND))
        return cls(spent.runs, spent.calls, spent.tokens, round(spent.cost_usd * MILLION), *seconds)

    @classmethod
    def of_counts(cls, counts: Mapping[str, int]) -> Amounts:
        return cls(**{name: int(counts.get(name, 0)) for name in RESOURCES})

    def spent(self) -> Spent:
        return Spent(
            runs=self.runs,
            calls=self.calls,
            tokens=self.tokens,
            cost_usd=self.micro_usd / MILLION,
            cpu_seconds=self.cpu_ms / THOUSAND,
            wall_seconds=self.wall_ms / THOUSAND,
        )

    def counts(self) -> dict[str, int]:
        """Those that are not 0."""
        return {name: amount for name, amount in asdict(self).items() if amount}

    def minus(self, other: Amounts) -> Amounts:
        return Amounts(**{name: getattr(self, name) - getattr(other, name) for name in RESOURCES})

    def plus(self, other: Amounts) -> Amounts:
        return Amounts(**{name: getattr(self, name) + getattr(other, name) for name in RESOURCES})

    def times(self, factor: int) -> Amounts:
        return Amounts(**{name: getattr(self, name) * factor for name in RESOURCES})


RESOURCES = tuple(each.name for each in fields(Amounts))
SPOKEN = {"micro_usd": "cost_usd", "cpu_ms": "cpu_seconds", "wall_ms": "wall_seconds"}
"""As people and policies name them, where that differs."""
_UNIT = {"micro_usd": MILLION, "cpu_ms": THOUSAND, "wall_ms": THOUSAND}


def spoken(resource: str) -> str:
    return SPOKEN.get(resource, resource)


def amount_spoken(resource: str, amount: int) -> str:
    if resource == "micro_usd":
        return f"${amount / MILLION:.6g}"
    return f"{amount / _UNIT[resource]:g}" if resource in _UNIT else f"{amount:,}"


class _Frozen(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class QuotaLimit(_Frozen):
    """The most of a UTC day; what is not named is not limited."""

    runs: int | None = Field(default=None, ge=0)
    calls: int | None = Field(default=None, ge=0)
    tokens: int | None = Field(default=None, ge=0)
    cost_usd: float | None = Field(default=None, ge=0, le=1e9)
    cpu_seconds: float | None = Field(default=None, ge=0, le=1e9)
    wall_seconds: float | None = Field(default=None, ge=0, le=1e9)

    def counts(self) -> dict[str, int]:
        """By the names of `Amounts`."""
        given = {name: getattr(self, spoken(name)) for name in RESOURCES}
        return {name: round(most * _UNIT.get(name, 1)) for name, most in given.items() if most is not None}

    def tightened(self, other: QuotaLimit) -> QuotaLimit:
        """`other` where it names something, else this."""
        return self.model_copy(update=other.model_dump(exclude_none=True))


class QuotaOverride(_Frozen):
    """For accounts whose name matches; replaces the kind's default, resource by resource. The last that matches wins."""

    account: str = Field(min_length=3, max_length=200)
    """`<kind>:<pattern>` with `*` and `?`, as `pipeline:triage_*`."""
    limit: QuotaLimit

    @field_validator("account")
    @classmethod
    def _names_a_kind(cls, account: str) -> str:
        kind, separator, pattern = account.partition(":")
        if kind not in KINDS or (kind != "system" and not (separator and pattern)):
            raise ValueError(f"{account!r} names no account; write <kind>:<pattern> with a kind of {', '.join(KINDS)}")
        return account


class QuotaRules(_Frozen):
    """The `quotas` of a policy."""

    defaults: dict[AccountKind, QuotaLimit] = Field(default_factory=dict)
    """For every account of the kind."""
    overrides: tuple[QuotaOverride, ...] = Field(default=(), max_length=1000)

    def production_bounds(self) -> list[dict[str, Any]]:
        """Patterns of accounts that bound production runs, with the resources that they bound by their names in `Spent`: what
        executors need to know."""
        named = [(kind if kind == "system" else f"{kind}:*", limit) for kind, limit in self.defaults.items()]
        every = [*named, *((each.account, each.limit) for each in self.overrides)]
        bounding = [
            (account, sorted(spoken(name) for name in limit.counts())) for account, limit in every if _bounds_production(account)
        ]
        return [{"account": account, "resources": resources} for account, resources in bounding if resources]

    def limit_of(self, account: str) -> QuotaLimit:
        kind = kind_of(account)
        found = self.defaults.get(kind, QuotaLimit())
        for override in self.overrides:
            if kind_of(override.account) == kind and fnmatchcase(account, override.account):
                found = found.tightened(override.limit)
        return found


def _bounds_production(account: str) -> bool:
    kind = kind_of(account)
    return kind in ("system", "production_domain", "production_pipeline") or (
        kind == "purpose" and fnmatchcase("purpose:production", account)
    )


def production_accounts(pipeline: str, domain: str, *, nested: bool) -> tuple[str, ...]:
    """A nested run is charged with the run that it is part of; only its own pipeline's quota counts for itself."""
    own = f"production_pipeline:{pipeline}"
    return (own,) if nested else ("system", "purpose:production", f"production_domain:{domain}", own)


def kind_of(account: str) -> AccountKind:
    """Raises `ValueError` for what is no account."""
    kind = account.partition(":")[0]
    for known in KINDS:
        if known == kind:
            return known
    raise ValueError(f"{account!r} is no account: it begins with none of {', '.join(KINDS)}")


class Reservation(BaseModel):
    """Amounts that several accounts of one day hold for somebody until they are settled. `limits` are those of the moment."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    reservation_id: str
    day: str
    holder: str
    purpose: str
    accounts: tuple[str, ...]
    amounts: Amounts
    opened_at: datetime
    lease_until: datetime
    """When the scope expires at the latest, or whoever holds it must have told what was used."""


@dataclass(frozen=True)
class Shortage:
    """Why nothing was reserved."""

    account: str
    resource: str
    limit: int
    left: int
    asked: int

    def __str__(self) -> str:
        limit, left, asked = (amount_spoken(self.resource, each) for each in (self.limit, self.left, self.asked))
        return f"{self.account} may use {limit} {spoken(self.resource)} today, {left} of it are left, {asked} are asked for"


@dataclass(frozen=True)
class Standing:
    """One account of one day."""

    account: str
    total: Amounts
    """Used and reserved."""
    used: Amounts

    @property
    def reserved(self) -> Amounts:
        return self.total.minus(self.used)


def needed(wanted: Amounts, resource: str) -> int:
    """What must be left. Of time that nobody can tell before something must be."""
    asked: int = getattr(wanted, resource)
    return max(1, asked) if resource in ("cpu_ms", "wall_ms") else asked


def shortages(wanted: Amounts, standing: Standing, limits: Mapping[str, int]) -> Iterator[Shortage]:
    for resource, most in limits.items():
        asked, left = needed(wanted, resource), most - getattr(standing.total, resource)
        if asked > left:
            yield Shortage(standing.account, resource, most, max(0, left), asked)


def fullest_share(standing: Standing, limits: Mapping[str, int]) -> float | None:
    """The part of the tightest limit that is used or reserved; a limit of nothing is full."""
    shares = [getattr(standing.total, name) / most if most else 1.0 for name, most in limits.items()]
    return max(shares, default=None)


def times_that_fit(each: Amounts, standings: Iterable[tuple[Standing, Mapping[str, int]]], most: int) -> int:
    """How often `each` has room in all accounts together, at most `most` times."""
    fit = most
    for standing, limits in standings:
        for resource, limit in limits.items():
            if amount := getattr(each, resource):
                fit = min(fit, max(0, limit - getattr(standing.total, resource)) // amount)
    return fit


def day_of(moment: datetime) -> str:
    return moment.astimezone(UTC).date().isoformat()


def renewal_of(day: str) -> datetime:
    """When the day's quotas are whole again: the next midnight UTC."""
    return datetime.combine(date.fromisoformat(day) + timedelta(days=1), datetime.min.time(), tzinfo=UTC)
