"""What the functions that fill inputs work with: questions to the services, and how much is wanted."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from shared.events.answers import reading
from shared.events.message import Query

MOST_RUNS = 500
MOST_REQUESTS = 50
META_DOMAIN = "meta"
"""The system's own pipelines: what is learned from pipelines is not learned from these."""


class Questions(Protocol):
    async def ask(self, query: Query) -> dict[str, Any]:
        """A service's answer. Raises the typed error that it gives, or `UnavailableError` where it does not run."""
        ...


@dataclass(frozen=True)
class Stores:
    questions: Questions
    domain: str | None = None
    """What the inputs are about; None: whatever was asked for last."""
    most: int = 5
    """Members of a list: prompts are short."""

    async def rows(self, query: Query, key: str) -> list[dict[str, Any]]:
        answer = await self.questions.ask(query)
        with reading(query):
            return [dict(row) for row in answer.get(key, [])]


def chosen(row: Mapping[str, Any], *names: str) -> dict[str, Any]:
    """The fields of a record that say something."""
    return {name: row[name] for name in names if row.get(name) not in (None, "", [], {})}
