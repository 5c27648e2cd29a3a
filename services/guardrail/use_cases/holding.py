"""What came during a freeze: kept, and carried on in the order in which it came when the freeze ends."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable, Sequence

import structlog

from services.guardrail.domain.freezing import FreezeBoard
from services.guardrail.domain.records import ChangeRecord
from services.guardrail.ports import Guardrail
from services.guardrail.use_cases.propose import carried_on
from services.guardrail.use_cases.telling import Effects
from shared.errors import TransientError

ROUND = 200
"""Changes a round; the next one begins at once while there are more."""
LOOK_AGAIN = 60
"""Rounds after which held changes are looked at although nothing says that one of them is free."""
OWN = "guardrail"
"""Cause of what no message caused."""
LANES = 4
"""Pipelines whose changes are carried on at the same time."""

Tell = Callable[[str, Effects], Awaitable[None]]
"""(cause, effects): publishes them under the ids that the message's own handling would have given them."""


class HeldChanges:
    """Whoever crashes between verdict and telling tells it again: a change is held until its facts are stored."""

    def __init__(self, at: Guardrail, tell: Tell) -> None:
        self._at = at
        self._tell = tell
        self._places = asyncio.Semaphore(LANES)
        self._tries: Counter[str] = Counter()
        self._stuck: tuple[int, int] | None = None
        """Generation of the board and number of held changes when freezes held them all."""
        self._rounds = 0
        self._log = structlog.get_logger("services.guardrail")

    async def round(self) -> int:
        """How many were carried to their end. One that cannot be yet keeps those behind it of the same pipeline waiting."""
        board, count = await self._at.freeze.read(), await self._at.changes.count_held()
        self._at.gauges.frozen(len(board.freezes))
        self._at.gauges.changes_held(count)
        self._rounds += 1
        if (board.generation, count) == self._stuck and self._rounds % LOOK_AGAIN:
            return 0
        free = await self._free(board)
        self._stuck = None if free else (board.generation, count)
        lanes: dict[str, list[ChangeRecord]] = {}
        for record in free:
            lanes.setdefault(record.pipeline, []).append(record)
        return sum(await asyncio.gather(*(self._lane(lane) for lane in lanes.values())))

    async def _free(self, board: FreezeBoard) -> list[ChangeRecord]:
        """The first ones that no freeze holds any more: however many a freeze that stands keeps, it hides none behind them."""
        limit = ROUND
        while True:
            found = await self._at.changes.held(limit)
            free = [record for record in found if not board.holding(record.pipeline, record.domain)]
            if free or len(found) < limit:
                return free
            limit *= 4

    async def _lane(self, records: Sequence[ChangeRecord]) -> int:
        async with self._places:
            for done, record in enumerate(records):
                if not await self._resumed(record):
                    return done
            return len(records)

    async def _resumed(self, known: ChangeRecord) -> bool:
        self._tries[known.change_id] += 1
        patient = self._tries[known.change_id] < self._at.limits.patient_attempts
        try:
            async with self._at.turns.of(known.pipeline):
                record = await self._at.changes.get(known.change_id)
                if record is None or not record.held_by:
                    return True
                record, effects = await carried_on(record, self._at, patient=patient)
                if record.is_held:
                    return False
                await self._tell(*_named(record, effects))
                await self._at.changes.save(record.model_copy(update={"held_by": ""}))
        except TransientError as error:
            self._log.warning("held change waits on", change_id=known.change_id, error=str(error))
            return False
        except Exception:
            # One that cannot be judged at all must not keep the others waiting; it stays held, and is tried again.
            self._log.exception("held change cannot be judged", change_id=known.change_id)
            return True
        del self._tries[known.change_id]
        return True


def _named(record: ChangeRecord, effects: Effects) -> tuple[str, Effects]:
    """What ships with the system came by no message: its facts are named by the change, as a start names them."""
    if record.cause:
        return record.cause, effects
    return OWN, [(f"{record.change_id}:{effect}", fact) for effect, fact in effects]
