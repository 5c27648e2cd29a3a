"""What many ask for at the same time, done at once."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Hashable, Sequence
from typing import Generic, TypeVar

from shared.errors import TransientError

Asked = TypeVar("Asked")
Answer = TypeVar("Answer")
Batch = list[tuple[Asked, asyncio.Future[Answer]]]

MAX_BATCH = 256


class Group(Generic[Asked, Answer]):
    """Calls that wait at the same time become one call of `act`. A lone caller pays nothing: a batch goes out when none is under
    way, never by a timer. While one batch is under way the next one gathers."""

    def __init__(
        self,
        act: Callable[[Sequence[Asked]], Awaitable[Sequence[Answer]]],
        *,
        key: Callable[[Asked], Hashable] | None = None,
        max_batch: int = MAX_BATCH,
    ) -> None:
        """`act` answers in the order of what was asked. Two with the same `key` never share a batch, and keep their order."""
        self._act = act
        self._key = key
        self._max_batch = max_batch
        self._waiting: Batch[Asked, Answer] = []
        self._acting: asyncio.Task[None] | None = None

    async def join(self, asked: Asked) -> Answer:
        """Raises what `act` raises; then it may have been done or not."""
        answer: asyncio.Future[Answer] = asyncio.get_running_loop().create_future()
        self._waiting.append((asked, answer))
        if self._acting is None or self._acting.done():
            self._acting = asyncio.create_task(self._work())
        return await answer

    async def _work(self) -> None:
        while self._waiting:
            batch = self._next_batch()
            try:
                await self._answer(batch)
            except BaseException as error:
                _fail([future for _, future in batch], error)
                if isinstance(error, asyncio.CancelledError):
                    raise

    async def _answer(self, batch: Batch[Asked, Answer]) -> None:
        """What is wrong with one of a batch is told to that one only: the others are done without it."""
        try:
            answers = await self._act([asked for asked, _ in batch])
        except Exception as error:
            if len(batch) == 1 or isinstance(error, TransientError):
                _fail([future for _, future in batch], error)
                return
            for each in batch:
                await self._answer([each])
        else:
            for (_, future), answer in zip(batch, answers, strict=True):
                if not future.done():
                    future.set_result(answer)

    def _next_batch(self) -> Batch[Asked, Answer]:
        if self._key is None:
            batch, self._waiting = self._waiting[: self._max_batch], self._waiting[self._max_batch :]
            return batch
        chosen: dict[Hashable, tuple[Asked, asyncio.Future[Answer]]] = {}
        later = []
        for each in self._waiting:
            key = self._key(each[0])
            if len(chosen) < self._max_batch and key not in chosen:
                chosen[key] = each
            else:
                later.append(each)
        self._waiting = later
        return list(chosen.values())


def _fail(futures: Sequence[asyncio.Future[Answer]], error: BaseException) -> None:
    for future in futures:
        if future.done():
            continue
        if isinstance(error, asyncio.CancelledError):
            future.cancel()
        else:
            future.set_exception(error)
