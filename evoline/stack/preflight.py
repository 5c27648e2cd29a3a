"""What can be known before anything starts: each finding says what is wrong, where, and what to do."""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from evoline.stack.home import Home
from evoline.stack.plan import StackOptions, program
from evoline.stack.ports import taken_port_error
from evoline.stack.system import port_is_free
from shared.errors import ConfigurationError

LEAST_FREE_BYTES = 1_000_000_000
SUPPORTED = ((3, 11), (3, 14))


@dataclass(frozen=True)
class Machine:
    """What preflight looks at; tests give their own."""

    python: tuple[int, int]
    free_bytes: int
    cpu_flags: frozenset[str]
    """Empty where the system does not say."""

    @classmethod
    def this(cls, directory: Path) -> Machine:
        while not directory.exists():
            directory = directory.parent
        return cls((sys.version_info[0], sys.version_info[1]), shutil.disk_usage(directory).free, _cpu_flags())


def check(home: Home, options: StackOptions, machine: Machine) -> list[str]:
    """Warnings. Raises ConfigurationError with everything that forbids a start."""
    reasons = [*_python(machine), *_disk(home, machine), *_programs(), *_ports(options), *_model_file(options)]
    if reasons:
        raise ConfigurationError("\n".join(reasons))
    if options.model_file and machine.cpu_flags and "avx2" not in machine.cpu_flags:
        return [
            "this CPU has no AVX2, which the local model server needs; set ANTHROPIC_API_KEY or GEMINI_API_KEY, or use --no-model"
        ]
    return []


def _python(machine: Machine) -> list[str]:
    low, high = SUPPORTED
    if low <= machine.python < high:
        return []
    found = ".".join(map(str, machine.python))
    return [f"Python {found} runs this, but 3.11, 3.12 or 3.13 is needed: make install PYTHON=/path/to/python3.11"]


def _disk(home: Home, machine: Machine) -> list[str]:
    if machine.free_bytes >= LEAST_FREE_BYTES:
        return []
    return [
        f"only {machine.free_bytes / 1e6:,.0f} MB are free at {home.root}, 1,000 MB are needed: "
        "make room, or choose another disk with EVOLINE_HOME=/path"
    ]


def _programs() -> list[str]:
    reasons = []
    for name in ("nats-server", "secantusd-py"):
        try:
            program(name)
        except ConfigurationError as error:
            reasons.append(str(error))
    return reasons


def _ports(options: StackOptions) -> list[str]:
    return [str(taken_port_error(name, port)) for name, port in options.ports.items() if not port_is_free(port)]


def _model_file(options: StackOptions) -> list[str]:
    file = options.model_file
    if file is None or os.access(file, os.R_OK):
        return []
    return [f"the model file {file} cannot be read: run `evoline model pull`, or choose another with `evoline model use`"]


def _cpu_flags(source: Path = Path("/proc/cpuinfo")) -> frozenset[str]:
    if not source.exists():
        return frozenset()
    for line in source.read_text().splitlines():
        if line.startswith("flags"):
            return frozenset(line.partition(":")[2].split())
    return frozenset()


def answers_for_itself(environment: Mapping[str, str]) -> bool:
    """Whether both step families have a provider or an endpoint of the user's own, so that no local model is needed."""
    families = (("ANTHROPIC_API_KEY", "EVOLINE_CLAUDE_BASE_URL"), ("GEMINI_API_KEY", "EVOLINE_GEMINI_BASE_URL"))
    return all(any(environment.get(name) for name in names) for names in families)
