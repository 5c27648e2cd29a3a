"""Ways to come to a candidate; each a small object with one method."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from services.generator.domain.selection import Draft
from services.generator.domain.task import Task


class Strategy(Protocol):
    name: str

    async def drafts(self, task: Task) -> Sequence[Draft]:
        """Unchecked documents; a failure is a draft without a document that says why."""
        ...
