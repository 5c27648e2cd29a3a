"""Which port each part listens on: the one asked for, else the remembered one, else the usual one, else any free one."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from evoline.stack import system
from shared.errors import ConfigurationError, Problem

DEFAULT_PORTS: Mapping[str, int] = {
    "nats": 4222,
    "nats-monitor": 8222,
    "mongo": 27017,
    "model": 8089,
    "guardrail": 8101,
    "executor-1": 8102,
    "generator": 8103,
    "analytics": 8104,
    "learner": 8105,
    "evolution": 8106,
}


@dataclass
class PortChooser:
    """Gives every name its own port. `wanted` ports are demands: a taken one is an error."""

    remembered: Mapping[str, int]
    wanted: Mapping[str, int] = field(default_factory=dict)
    is_free: Callable[[int], bool] = system.port_is_free
    any_free: Callable[[], int] = system.any_free_port
    chosen: dict[str, int] = field(default_factory=dict)

    def port(self, name: str) -> int:
        """The same answer for the same name as long as this chooser lives."""
        if name not in self.chosen:
            self.chosen[name] = self._choose(name)
        return self.chosen[name]

    def _choose(self, name: str) -> int:
        given = set(self.chosen.values()) | set(self.wanted.values())
        if name in self.wanted:
            port = self.wanted[name]
            if not self.is_free(port):
                raise taken_port_error(name, port)
            return port
        for port in (self.remembered.get(name, 0), DEFAULT_PORTS.get(name, 0)):
            if port and port not in given and self.is_free(port):
                return port
        while True:
            port = self.any_free()
            if port not in given:
                return port


def taken_port_error(name: str, port: int) -> ConfigurationError:
    return ConfigurationError(
        f"port {port}, wanted for {name}, is taken by another program; choose another with --port {name}=N, or leave it out"
    )


def parse_ports(texts: list[str]) -> dict[str, int]:
    """`["nats=4300"]` -> `{"nats": 4300}`. Raises ConfigurationError with every wrong one."""
    found: dict[str, int] = {}
    problems: list[Problem] = []
    for text in texts:
        name, _, number = text.partition("=")
        if name not in DEFAULT_PORTS:
            problems.append(Problem(reason=f"{text!r}: {name!r} has no port", suggestion=f"one of {', '.join(DEFAULT_PORTS)}"))
        elif not number.isdigit() or not 1 <= int(number) <= 65535:
            problems.append(Problem(reason=f"{text!r}: a port is a number from 1 to 65535"))
        else:
            found[name] = int(number)
    if problems:
        raise ConfigurationError("; ".join(map(str, problems)))
    return found
