"""Calls that wait, by tenant: in each tenant's line the first comes first, among tenants who had least."""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Callable, Iterator
from typing import Generic, Protocol, TypeVar

MOST_TENANTS = 1000
"""Whose last turn is remembered."""


class Waiting(Protocol):
    @property
    def tenant(self) -> str: ...

    @property
    def tokens(self) -> int: ...


C = TypeVar("C", bound=Waiting)
Load = Callable[[str], tuple[float, ...]]
"""Of a tenant: what it has already; the least comes first."""


class FairQueue(Generic[C]):
    def __init__(self) -> None:
        self._lines: dict[str, deque[C]] = {}
        self._turns: dict[str, int] = {}
        """When a waiting tenant last had a turn."""
        self._turn = 0

    def __len__(self) -> int:
        return sum(len(line) for line in self._lines.values())

    def __iter__(self) -> Iterator[C]:
        return (call for line in self._lines.values() for call in line)

    @property
    def waiting(self) -> dict[str, int]:
        """How many calls of each tenant."""
        return {tenant: len(line) for tenant, line in self._lines.items()}

    def add(self, call: C) -> bool:
        """Whether it is the first of its tenant."""
        line = self._lines.setdefault(call.tenant, deque())
        line.append(call)
        return len(line) == 1

    def remove(self, call: C, *, had_turn: bool = False) -> bool:
        """False where it does not wait (any more)."""
        line = self._lines.get(call.tenant, deque())
        try:
            line.remove(call)
        except ValueError:
            return False
        if had_turn:
            self._turn += 1
            self._turns[call.tenant] = self._turn
        if not line:
            del self._lines[call.tenant]
        if len(self._turns) > MOST_TENANTS:
            self._turns.clear()
        return True

    def heads(self, load: Load, passed: Counter[str]) -> list[C]:
        """The next call of each tenant, whose turn it is first; the first `passed` ones of a tenant have had theirs."""
        lines = ((tenant, line) for tenant, line in self._lines.items() if len(line) > passed[tenant])
        ordered = sorted(lines, key=lambda each: (*load(each[0]), passed[each[0]], self._turns.get(each[0], 0)))
        return [line[passed[tenant]] for tenant, line in ordered]
