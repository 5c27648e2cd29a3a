"""Calls in flight of one step family from this executor."""

from __future__ import annotations

from collections.abc import Callable


class Slots:
    def __init__(self, most: int) -> None:
        self._free = most
        self._listeners: list[Callable[[], None]] = []
        self._first = 0

    @property
    def free(self) -> int:
        return self._free

    def on_free(self, call: Callable[[], None]) -> None:
        """`call` is told whenever slots are given back."""
        self._listeners.append(call)

    def claim(self, count: int) -> None:
        """At most as many as are free."""
        assert 0 <= count <= self._free
        self._free -= count

    def give_back(self, count: int) -> None:
        """Tells everybody who may wait, beginning with another one each time; nobody does where there was a slot before."""
        was_free, self._free = self._free, self._free + count
        if was_free:
            return
        self._first += 1
        for offset in range(len(self._listeners)):
            self._listeners[(self._first + offset) % len(self._listeners)]()
