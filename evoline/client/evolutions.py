"""Evolutions: start one or go on with it, whichever it is; look at what is known of them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Literal

from evoline.client.api import Client
from evoline.client.talk import OnFact, ignore
from shared.errors import NotFoundError
from shared.events.improvement import EvolutionFinished, GetEvolution, StartEvolution
from shared.events.message import derive_id

SILENCE = timedelta(seconds=120)
"""A search that told nothing for so long may have lost its service; asking again changes nothing where it has not."""


@dataclass(frozen=True)
class Standing:
    """What an evolution was when we came."""

    state: Literal["new", "under way", "ended"]
    record: Mapping[str, Any]


def same_id(command: StartEvolution) -> str:
    """The same for the same order: who gives it again gets the same evolution."""
    return f"evolution-{derive_id(command.model_dump_json(exclude={'evolution_id'}), 'evolution')[:16]}"


class Evolutions:
    def __init__(self, client: Client) -> None:
        self._client = client

    async def start_or_follow(
        self, command: StartEvolution, *, on_fact: OnFact = ignore, on_standing: Callable[[Standing], None] = lambda standing: None
    ) -> EvolutionFinished:
        """Its end; at once where it has ended. Raises what `Client.evolve` raises."""
        standing = await self._standing(command)
        on_standing(standing)
        if standing.state == "ended":
            return EvolutionFinished.model_validate(standing.record["answer"])
        if standing.state == "new" or _is_silent(standing.record):
            return await self._client.evolve(command, on_fact=on_fact)
        return await self._client.wait_for_evolution(command.evolution_id, on_fact=on_fact, timeout_seconds=command.seconds + 300)

    async def get(self, evolution_id: str) -> dict[str, Any]:
        return await self._client.ask(GetEvolution(evolution_id=evolution_id), timeout_seconds=10)

    async def _standing(self, command: StartEvolution) -> Standing:
        try:
            record = await self.get(command.evolution_id)
        except NotFoundError:
            return Standing("new", {})
        return Standing("ended" if record.get("answer") else "under way", record)


def _is_silent(record: Mapping[str, Any]) -> bool:
    if record.get("status") != "searching":
        return False
    last = (record.get("progress") or {}).get("at") or record["created_at"]
    return datetime.now(UTC) - datetime.fromisoformat(last) > SILENCE
