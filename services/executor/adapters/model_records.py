"""What analytics has measured of models, kept for a minute."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from pydantic import ValidationError

from services.executor.ports import Questions
from shared.clock import Clock
from shared.errors import EvolineError
from shared.events.improvement import GetModelRecords
from shared.pipeline.step import MeasuredModels, ModelRecord

ANSWER_SECONDS = 1.0
"""A step waits no longer than this."""
KEPT_SECONDS = 60.0
KEPT_SECONDS_WITHOUT_ANSWER = 10.0
MAX_DOMAINS = 1000
MAX_REASON = 200


@dataclass(frozen=True)
class _Kept:
    models: MeasuredModels
    until: float


class AnalyticsModelRecords:
    """One question a domain at a time, whoever waits for it; those who stop waiting do not end it for the others."""

    def __init__(self, questions: Questions, clock: Clock, providers: Mapping[str, str]) -> None:
        """`providers`: who serves each family here. Records of the same names from elsewhere say nothing about it."""
        self._questions = questions
        self._clock = clock
        self._providers = providers
        self._kept: dict[str, _Kept] = {}
        self._asking: dict[str, asyncio.Task[MeasuredModels]] = {}

    async def of_domain(self, domain: str) -> MeasuredModels:
        kept = self._kept.get(domain)
        if kept is not None and self._clock.monotonic() < kept.until:
            return kept.models
        if domain not in self._asking:
            asking = asyncio.create_task(self._asked(domain))
            self._asking[domain] = asking
            asking.add_done_callback(lambda _: self._asking.pop(domain, None))
        return await asyncio.shield(self._asking[domain])

    async def _asked(self, domain: str) -> MeasuredModels:
        try:
            async with asyncio.timeout(ANSWER_SECONDS):
                models = self._read(await self._questions.ask(GetModelRecords(domain=domain)))
        except TimeoutError:
            models = MeasuredModels(missing=f"analytics did not answer within {ANSWER_SECONDS:g} s")
        except EvolineError as error:
            models = MeasuredModels(missing=f"analytics does not answer: {error}"[:MAX_REASON])
        except (ValidationError, ValueError, TypeError, KeyError, AttributeError) as error:
            models = MeasuredModels(missing=f"analytics answered something else ({type(error).__name__})")
        seconds = KEPT_SECONDS_WITHOUT_ANSWER if models.missing else KEPT_SECONDS
        if len(self._kept) >= MAX_DOMAINS:
            self._kept.clear()
        self._kept[domain] = _Kept(models, self._clock.monotonic() + seconds)
        return models

    def _read(self, answer: Mapping[str, Any]) -> MeasuredModels:
        own = [row for row in answer["records"] if row["provider"] == self._providers.get(row["family"], row["provider"])]
        return MeasuredModels(records=tuple(ModelRecord.model_validate(row) for row in own))
