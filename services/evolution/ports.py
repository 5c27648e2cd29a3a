"""What evolution needs from outside, by role."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from shared.events.changes import GrantScope
from shared.events.message import Message
from shared.events.runs import ExecuteRun, RunFinished
from shared.events.values import Budget, Case, GraderSpec, GrantedScope


@dataclass(frozen=True)
class StablePipeline:
    digest: str
    document: dict[str, Any]


@dataclass(frozen=True)
class LabelledCases:
    """Train and dev cases of a dataset; the sealed ones stay with their custodian."""

    dataset_id: str
    domain: str
    grader: GraderSpec
    cases: tuple[Case, ...]


class Evolutions(Protocol):
    """Records of evolutions, `_id` = evolution id, and their candidates."""

    async def open(self, record: Mapping[str, Any]) -> dict[str, Any]:
        """The stored record of this id: the given one, or the one that was there before."""
        ...

    async def get(self, evolution_id: str) -> dict[str, Any] | None: ...
    async def of_change(self, change_id: str) -> dict[str, Any] | None: ...
    async def update(self, evolution_id: str, fields: Mapping[str, Any]) -> None: ...
    async def conclude(self, evolution_id: str, fields: Mapping[str, Any]) -> bool:
        """As `update`, of one that nobody has stopped; False, and nothing written, where somebody has."""
        ...

    async def stop(self, evolution_id: str, fields: Mapping[str, Any]) -> bool:
        """As `update`, marked as stopped, of one that has neither ended nor proposed anything; False, and nothing written, else."""
        ...

    async def is_stopped(self, evolution_id: str) -> bool: ...
    async def quarantine(self, digests: Sequence[str]) -> None:
        """Remembered for ever."""
        ...

    async def quarantined(self, digests: Sequence[str]) -> list[str]:
        """Those of them that are."""
        ...

    async def keep_candidates(self, evolution_id: str, rows: Sequence[Mapping[str, Any]]) -> None:
        """Rows have a `digest`; those kept before are left alone."""
        ...

    async def keep_so_far(self, evolution_id: str, rows: Sequence[Mapping[str, Any]], left_out: int) -> None:
        """What a search that goes on has measured, instead of what was kept so before. It is told until there are candidates."""
        ...

    async def forget_so_far(self, evolution_id: str) -> None:
        """Of a search that ended. Repeatable."""
        ...

    async def candidates(self, evolution_id: str, limit: int) -> list[dict[str, Any]]:
        """In order of birth, without their documents; of a search that goes on those so far."""
        ...


class Descent(Protocol):
    """What is remembered of descent, for people who look at it."""

    async def evolutions(self, pipeline: str | None, evolution_id: str | None, limit: int) -> list[dict[str, Any]]:
        """Records, newest first."""
        ...

    async def of_evolution(self, evolution_id: str, limit: int) -> tuple[list[dict[str, Any]], int]:
        """(candidates in order of birth without their documents, how many were left out); accepted ones are not left out first.
        Of a search that goes on those so far."""
        ...

    async def candidates_like(self, digest: str, limit: int) -> list[dict[str, Any]]:
        """Those whose digest begins so, documents included."""
        ...


class EvaluationCache(Protocol):
    """Finished evaluations and rewrites by key, for ever: what is in it is never run again."""

    async def known(self, keys: Sequence[str]) -> dict[str, dict[str, Any]]: ...
    async def keep(self, rows: Sequence[Mapping[str, Any]]) -> None:
        """Rows have the key as `_id`; the first one kept under a key stays."""
        ...

    async def forget(self, digests: Sequence[str]) -> None:
        """Evaluations of these revisions."""
        ...

    async def rewrite(self, key: str) -> dict[str, Any] | None: ...
    async def keep_rewrite(self, key: str, text: str | None) -> None: ...


class Templates(Protocol):
    """Learned templates by digest; whether they were taken back since, `Evolutions` knows."""

    async def learn(self, digest: str, row: Mapping[str, Any]) -> None:
        """`{domain, document, score}`; instead of what was learned under this digest before."""
        ...

    async def of_domain(self, domain: str) -> list[dict[str, Any]]:
        """`{digest, document, score}`, in order of their digests."""
        ...


class Custodian(Protocol):
    """The guardrail, as far as evolution asks it. Every call raises its typed error: `NotFoundError`, `UnavailableError`, ..."""

    async def stable(self, pipeline: str) -> StablePipeline: ...
    async def dataset(self, dataset_id: str) -> LabelledCases: ...
    async def estimate(self, pipeline: str, runs: int) -> Budget:
        """What so many runs of the stable revision may use."""
        ...

    async def grant_scope(self, query: GrantScope) -> GrantedScope: ...
    async def gate_of(self, change_id: str) -> dict[str, Any] | None:
        """`GateFinished` of the change as a map; None where it came to no gate."""
        ...

    async def rollout_of(self, change_id: str) -> str:
        """Id of the rollout that the change began; empty where it began none."""
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
    """Publishes facts while a handler still works; ids derive from `cause` and `effect`."""

    async def announce(self, message: Message, *, cause: str, effect: str) -> None: ...


class Experiments(Protocol):
    """Records of experiments, `_id` = experiment id."""

    async def open(self, record: Mapping[str, Any]) -> dict[str, Any]:
        """The stored record of this id: the given one, or the one that was there before."""
        ...

    async def get(self, experiment_id: str) -> dict[str, Any] | None: ...
    async def of_change(self, change_id: str) -> dict[str, Any] | None: ...
    async def update(self, experiment_id: str, fields: Mapping[str, Any]) -> None: ...
    async def conclude(self, experiment_id: str, fields: Mapping[str, Any]) -> bool:
        """As `update`, of one that nobody has stopped; False, and nothing written, where somebody has."""
        ...

    async def stop(self, experiment_id: str, fields: Mapping[str, Any]) -> bool:
        """As `update`, marked as stopped, of one that has neither ended nor proposed anything; False, and nothing written, else."""
        ...

    async def is_stopped(self, experiment_id: str) -> bool: ...
    async def latest(self, pipeline: str | None, limit: int) -> list[dict[str, Any]]:
        """Newest first."""
        ...


class Promotions(Protocol):
    """What the guardrail knows of changes and their rollouts. Raises `NotFoundError`, `UnavailableError`."""

    async def change(self, change_id: str) -> dict[str, Any]:
        """See `GetChange`."""
        ...

    async def change_of_rollout(self, rollout_id: str) -> str:
        """Empty for a rollout that no change began."""
        ...
