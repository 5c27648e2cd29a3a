"""What a signed question's asker does where the connection ends under it."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any, cast

import pytest
from nats.aio.client import Client
from nats.errors import BadSubscriptionError, ConnectionClosedError, ConnectionDrainingError

from shared.messaging.questions import Asker
from tests.fakes.people import signer


class Answer:
    headers = None
    data = b"it"


class Ending:
    """A connection and its subscription: the answer came, then it is being closed."""

    def __init__(self, error: Exception) -> None:
        self._error = error

    def new_inbox(self) -> str:
        return "_INBOX.evolution.1"

    async def subscribe(self, _: str) -> Ending:
        return self

    async def publish(self, *_: Any, **__: Any) -> None: ...

    async def next_msg(self, timeout: float) -> Answer:
        return Answer()

    async def unsubscribe(self) -> None:
        raise self._error


@pytest.mark.parametrize("error", [ConnectionClosedError(), ConnectionDrainingError(), BadSubscriptionError()])
async def test_an_answer_that_came_is_one_though_the_connection_is_being_closed(error: Exception) -> None:
    asker = Asker(cast("Client", Ending(error)), signer("executor"))
    answer = await asker.request("api.guardrail.lease_quota", b"{}", {}, datetime(2026, 11, 26, tzinfo=UTC), 1.0)
    assert answer.data == b"it"
