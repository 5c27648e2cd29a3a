"""Many calls in flight over several clients of a provider's SDK, each with connections of its own.

httpx2 looks at every connection of a pool at the start and the end of every request. With hundreds in one pool most of the
processor time of a call goes there: 10 ms a call with a thousand in flight, 3 ms with sixteen to a pool."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Sequence
from typing import Generic, TypeVar

C = TypeVar("C")
CALLS_A_CLIENT = 16


class Spreading(Generic[C]):
    """As many clients as were ever needed at once; the first ones are used first, so that their connections stay warm."""

    def __init__(self, new_client: Callable[[], C], calls_a_client: int = CALLS_A_CLIENT) -> None:
        self._new_client = new_client
        self._calls_a_client = calls_a_client
        self._clients = [new_client()]
        self._calls = [0]

    @property
    def clients(self) -> Sequence[C]:
        return self._clients

    @contextlib.contextmanager
    def client(self) -> Iterator[C]:
        """One with room, for one call."""
        index = next((number for number, calls in enumerate(self._calls) if calls < self._calls_a_client), len(self._calls))
        if index == len(self._clients):
            self._clients.append(self._new_client())
            self._calls.append(0)
        self._calls[index] += 1
        try:
            yield self._clients[index]
        finally:
            self._calls[index] -= 1
