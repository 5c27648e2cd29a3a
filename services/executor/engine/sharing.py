"""Limits that a run shares with others at the same time: with those beside it, and with those nested in it.

A run that nests several at once opens a pool with what it has left; from then on it and they take from it before they use anything.
So does one that goes on where a nested run is cut off, which nobody waits for to tell what it used. Pools are opened at such a step
only: a run that nests nothing, or one run after another, never asks the store."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from functools import partial

import structlog

from services.executor.domain.spending import Spending
from services.executor.engine.patience import patiently
from services.executor.ports import Pools
from shared.clock import Clock
from shared.errors import LimitReachedError, UnavailableError


class SharedLimits:
    """What one run takes from pools: its own, if it has one, and those of the runs that it is nested in."""

    def __init__(self, pools: Pools, clock: Clock, ids: Sequence[str] = ()) -> None:
        self._pools = pools
        self._clock = clock
        self.ids = tuple(ids)
        self._prepaid_steps = 0
        self._paid_to: tuple[str, ...] = ()
        self._opening = asyncio.Lock()

    async def open(self, pool_id: str, left: Callable[[], Spending]) -> None:
        """Opening it again leaves it as it is. What is used while it is being opened is taken from it afterwards."""
        async with self._opening:
            if pool_id not in self.ids:
                before = left()
                await patiently(lambda: self._pools.open(pool_id, before), self._clock)
                self.ids = (*self.ids, pool_id)
                await self.give_back((pool_id,), left().minus(before))

    async def prepay_steps(self, count: int) -> None:
        """So that a run pays for its steps once; where not all of them are left they are paid for one by one."""
        if count < 1:
            return
        try:
            self._paid_to = await self.take(Spending(steps=count))
        except LimitReachedError:
            return
        self._prepaid_steps = count

    async def take_step(self) -> None:
        """Raises `LimitReachedError`."""
        paid = self._paid_to if self._prepaid_steps else ()
        self._prepaid_steps -= bool(self._prepaid_steps)
        await self.take(Spending(steps=1), but=paid)

    async def give_step_back(self) -> None:
        await self.give_back(self.ids, Spending(steps=1))

    async def take(self, wanted: Spending, *, but: Sequence[str] = ()) -> tuple[str, ...]:
        """The pools that it was taken from: all `but` these, or none and `LimitReachedError`."""
        taken: list[str] = []
        try:
            for pool_id in self.ids:
                if pool_id not in but:
                    await patiently(partial(self._pools.take, pool_id, wanted), self._clock)
                    taken.append(pool_id)
        except LimitReachedError:
            await self.give_back(taken, wanted)
            raise
        return tuple(taken)

    async def give_back(self, pool_ids: Sequence[str], unused: Spending) -> None:
        for pool_id in pool_ids:
            try:
                await self._pools.give_back(pool_id, unused)
            except UnavailableError as error:
                # Tried again it might be given back twice. What was taken stays taken, so the limit still holds.
                structlog.get_logger("services.executor").warning("unused share not given back", error=str(error))

    async def close(self) -> None:
        """Steps that the run did not execute are left to others."""
        count, self._prepaid_steps = self._prepaid_steps, 0
        if count:
            await self.give_back(self._paid_to, Spending(steps=count))
