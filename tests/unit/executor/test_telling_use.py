"""What executors tell of production runs reaches the guardrail whatever becomes of one report."""

from __future__ import annotations

from typing import Any

from services.guardrail.domain.budgets import day_of
from shared.errors import InvalidInputError
from shared.events.message import Query
from shared.events.quotas import ReportUse
from tests.unit.executor.test_production_quotas import PIPELINE, Stack, stack


async def used(on: Stack, day: str) -> float:
    (found,) = await on.at.at.budgets.standings(day, [PIPELINE])
    return found.used.runs


async def test_a_report_that_is_refused_keeps_no_other_back_and_is_told_again() -> None:
    on = await stack()
    ask, refused = on.questions.ask, True

    async def refusing(query: Query) -> dict[str, Any]:
        if refused and isinstance(query, ReportUse) and query.day == first:
            raise InvalidInputError("this day is not believed")
        return await ask(query)

    first = day_of(on.at.clock.now())
    await on.run("r0")
    on.at.clock.pass_seconds(13 * 3600)
    second = day_of(on.at.clock.now())
    await on.run("r1")
    on.questions.ask = refusing  # type: ignore[method-assign]
    await on.tell()
    assert (await used(on, first), await used(on, second)) == (0, 1)
    refused = False
    await on.tell()
    await on.tell()
    assert (await used(on, first), await used(on, second)) == (1, 1)
