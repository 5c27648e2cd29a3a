"""Stopping one search or one experiment."""

from __future__ import annotations

from typing import TypeVar

from evoline.client.talk import Talk, hold
from shared.events import Command, Fact
from shared.events.experiments import ExperimentFinished, StopExperiment
from shared.events.improvement import EvolutionFinished, StopEvolution
from shared.messaging.bus import Bus

F = TypeVar("F", bound=Fact)


class Stops:
    """Every method raises InvalidInputError where the command does not count, UnavailableError where nothing is told in time."""

    def __init__(self, bus: Bus) -> None:
        self._bus = bus

    async def evolution(self, command: StopEvolution, *, timeout_seconds: float = 30) -> EvolutionFinished:
        return await self._told(command, "evolution_id", command.evolution_id, EvolutionFinished, timeout_seconds)

    async def experiment(self, command: StopExperiment, *, timeout_seconds: float = 30) -> ExperimentFinished:
        return await self._told(command, "experiment_id", command.experiment_id, ExperimentFinished, timeout_seconds)

    async def _told(self, command: Command, field: str, value: str, end: type[F], seconds: float) -> F:
        talk = Talk(
            key=value,
            command=command,
            ends=(end,),
            belongs=lambda fact: getattr(fact, field, "") == value and "stopped" in _how(fact),
            timeout_seconds=seconds,
        )
        fact = await hold(self._bus, talk)
        assert isinstance(fact, end), f"{type(fact).__name__} ended what {end.__name__} should"
        return fact


def _how(fact: Fact) -> tuple[str, str]:
    return getattr(fact, "verdict", ""), getattr(fact, "outcome", "")
