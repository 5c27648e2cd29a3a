"""What runs keep beside their documents."""

from __future__ import annotations

from typing import Any, Protocol

from shared.pipeline.completion import Completion
from shared.pipeline.step import Session


class Values(Protocol):
    """Values of inputs and outputs as messages and run documents carry them: large ones by reference."""

    async def pack(self, value: Any) -> Any:
        """Raises `LimitReachedError` above 64 MiB."""
        ...

    async def written(self, value: Any) -> bytes:
        """As JSON; of a reference what it refers to, unread. Raises as `unpack`."""
        ...

    async def unpack(self, value: Any) -> Any:
        """Raises `NotFoundError` for a reference to nothing, `InvalidInputError` for a bad one."""
        ...


class AnswerCache(Protocol):
    async def get(self, key: str) -> Completion | None: ...

    async def put(self, key: str, completion: Completion) -> None: ...


class Conversations(Protocol):
    async def load(self, name: str) -> Session:
        """An empty one of version 0 where nothing is stored."""
        ...

    async def save(self, session: Session) -> Session:
        """Raises `FencedError` where the stored version is not `session.version`."""
        ...
