"""How each process of the stack is, asked now."""

from __future__ import annotations

import asyncio
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from typing import Any

from evoline.stack import system
from evoline.stack.home import Home
from evoline.stack.readiness import http_probe, tcp_probe
from evoline.stack.state import ProcessRecord, StackRecord, read_state


@dataclass(frozen=True)
class ProcessView:
    name: str
    pid: int
    port: int
    ready: bool
    status: str
    detail: str
    """What is missing for readiness; empty when ready."""
    restarts: int
    uptime_seconds: float
    memory_bytes: int
    log: str


@dataclass(frozen=True)
class StackView:
    home: str
    status: str
    """`starting`, `ready`, `stopping`, `stopped`, `failed`, `degraded` (not all ready) or `dead` (its supervisor was killed)."""
    supervisor_pid: int
    urls: dict[str, str]
    versions: dict[str, str]
    model: str
    error: str
    processes: tuple[ProcessView, ...]

    def as_json(self) -> dict[str, Any]:
        return asdict(self)


async def look(home: Home) -> StackView:
    record = read_state(home.state_file)
    views = tuple(await asyncio.gather(*(_view(child) for child in record.processes)))
    return StackView(
        home=str(home.root),
        status=_status(record, views),
        supervisor_pid=record.supervisor_pid if record.alive else 0,
        urls=record.urls if record.alive else {},
        versions=record.versions,
        model=record.model,
        error=record.error,
        processes=views,
    )


def _status(record: StackRecord, views: tuple[ProcessView, ...]) -> str:
    if record.status in {"stopped", "failed"}:
        return record.status
    if not record.alive:
        return "dead"
    if record.status == "ready" and not all(view.ready for view in views):
        return "degraded"
    return record.status


async def _view(child: ProcessRecord) -> ProcessView:
    alive = system.is_running(child.pid, child.start_mark)
    detail = await _missing(child) if alive else "not running"
    uptime = (datetime.now(UTC) - datetime.fromisoformat(child.started_at)).total_seconds() if alive and child.started_at else 0.0
    return ProcessView(
        name=child.name,
        pid=child.pid if alive else 0,
        port=child.port,
        ready=not detail,
        status=child.status if alive else ("restarting" if child.status == "restarting" else "stopped"),
        detail=detail,
        restarts=child.restarts,
        uptime_seconds=round(uptime, 1),
        memory_bytes=system.memory_bytes(child.pid) if alive else 0,
        log=child.log,
    )


async def _missing(child: ProcessRecord) -> str:
    if not child.url:
        return await tcp_probe(child.port)() if child.port else ""
    return await http_probe(f"{child.url}{READY_PATHS.get(child.name, '/ready')}")()


READY_PATHS = {"nats": "/healthz", "model": "/health"}
"""Where a process that is no service of ours says that it is ready."""
