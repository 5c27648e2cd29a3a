"""What the generator needs from outside, by role."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Protocol

from services.generator.domain.templates import Template
from shared.events.changes import GrantScope
from shared.events.message import Message
from shared.events.runs import ExecuteRun, RunFinished
from shared.events.values import Case, GraderSpec, GrantedScope


class RequestStore(Protocol):
    """Records of requests, `_id` = request id."""

    async def get(self, request_id: str) -> dict[str, Any] | None: ...
    async def open(self, record: dict[str, Any]) -> bool:
        """False if the request id exists already."""
        ...

    async def update(self, request_id: str, fields: dict[str, Any]) -> None: ...
    async def latest(self, limit: int) -> list[dict[str, Any]]: ...


class TemplateLibrary(Protocol):
    """Seed templates, and learned ones that the guardrail approved."""

    async def templates(self) -> Sequence[Template]: ...
    async def learn(self, template: Template, digest: str, domain: str) -> None: ...
    async def revoke(self, digests: Sequence[str]) -> int:
        """Forgets learned templates; how many there were."""
        ...


class Custodian(Protocol):
    """The guardrail, as far as the generator asks it."""

    async def grant_scope(self, query: GrantScope) -> GrantedScope:
        """Raises `PermanentError` with the reasons of a refusal."""
        ...

    async def dataset(self, dataset_id: str) -> tuple[Sequence[Case], GraderSpec, str]:
        """Train and dev cases, grader, domain. Raises `NotFoundError`."""
        ...


class Runs(Protocol):
    """The executor fleet."""

    async def run_all(
        self,
        commands: Sequence[ExecuteRun],
        *,
        max_in_flight: int,
        deadline_seconds: float,
        on_finished: Callable[[RunFinished], None] | None = None,
    ) -> dict[str, RunFinished]:
        """Finished runs by id; what did not end by the deadline is absent."""
        ...


class Announcer(Protocol):
    """Publishes facts while a handler still works; ids derive from the request and `effect`."""

    async def announce(self, message: Message, *, cause: str, effect: str) -> None: ...


class Metrics(Protocol):
    """Ready-made reports of analytics about earlier runs, for the context analysis."""

    async def summary(self, domain: str) -> dict[str, Any]: ...
