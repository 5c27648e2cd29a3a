"""Processor time of a bench's own processes: it says what something costs also where other work shares the machine."""

from __future__ import annotations

from collections.abc import Mapping

import psutil

PARTS: Mapping[str, str] = {"store": "secantusd-py", "guardrail": ".guardrail", "broker": "nats-server"}
"""Name -> what its command line holds."""


def spent() -> dict[str, float]:
    """Seconds so far by part; `client` is this process."""
    own = psutil.Process()
    found = dict.fromkeys(PARTS, 0.0) | {"client": _seconds(own)}
    for child in own.children(recursive=True):
        line = " ".join(child.cmdline())
        for part, mark in PARTS.items():
            if mark in line:
                found[part] += _seconds(child)
    return found


def since(before: Mapping[str, float]) -> dict[str, float]:
    return {part: seconds - before[part] for part, seconds in spent().items()}


def _seconds(process: psutil.Process) -> float:
    times = process.cpu_times()
    return float(times.user + times.system)
