"""What monitoring is told of the day's budgets: sums by kind of account, since accounts are named after users' things."""

from __future__ import annotations

from collections import Counter

from services.guardrail.domain.budgets import Amounts, Standing, day_of, fullest_share, kind_of, spoken
from services.guardrail.ports import Guardrail
from services.guardrail.use_cases.reserving import limits_of
from shared.events.quotas import Spent

SERVICES = frozenset(("generator", "executor", "analytics", "learner", "evolution", "guardrail", "console"))
OTHER = "other"


async def gauge_budgets(at: Guardrail) -> None:
    standings = await at.budgets.standings(day_of(at.clock.now()))
    limits = limits_of([each.account for each in standings], at)
    sums: Counter[tuple[str, str, str, str]] = Counter()
    shares: dict[tuple[str, str], float] = {}
    for standing in standings:
        bounds = limits.get(standing.account, {})
        labels = (kind_of(standing.account), _service(standing))
        states = {"used": standing.used, "reserved": standing.reserved, "limit": Amounts(**bounds)}
        for state, amounts in states.items():
            told: Spent = amounts.spent()
            for name in bounds if state == "limit" else amounts.counts():
                sums[(*labels, spoken(name), state)] += getattr(told, spoken(name))
        if (share := fullest_share(standing, bounds)) is not None:
            shares[labels] = max(share, shares.get(labels, 0.0))
    at.gauges.budgets_stand(sums, shares)


def _service(standing: Standing) -> str:
    kind, _, name = standing.account.partition(":")
    if kind != "service":
        return ""
    return name if name in SERVICES else OTHER
