"""Takes messages of a durable consumer as fast as there are free slots, and never more than that.

One pull request is out at a time, for as many messages as slots are free: so nothing is prefetched beyond what is worked on, a
long message holds back no other, and a thousand slots cost no more than one. The framework's own pull subscribers need a
subscription a slot and three times the CPU a message.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import Callable, Coroutine
from typing import Any

import nats.errors
import structlog
from nats.aio.client import Client
from nats.aio.msg import Msg
from nats.aio.subscription import Subscription
from nats.js.api import Header

from shared.ending import end_tasks
from shared.messaging.topology import Durable

PULL_SECONDS = 5.0
"""How long one pull request waits at the server."""
LOST_AFTER_SECONDS = PULL_SECONDS + 2.0
"""A request that the server has not ended by then is forgotten on its side."""
LOOK_SECONDS = 1.0
"""How often a lost request or a new connection is looked for."""
PAUSE_SECONDS = 1.0
"""After a refusal: the durable or the broker is not there."""
REQUEST_ENDED = "408"

Receive = Callable[[Msg], Coroutine[Any, Any, None]]


class Pull:
    """Hands each message of `durable` to `receive` in a task of its own, at most `slots` at once."""

    def __init__(self, durable: Durable, slots: int, receive: Receive) -> None:
        self._durable = durable
        self._slots = slots
        self._receive = receive
        self._subject = f"$JS.API.CONSUMER.MSG.NEXT.{durable.stream}.{durable.name}"
        self._working: set[asyncio.Task[None]] = set()
        self._wanted = 0
        """Messages that the present request may still bring."""
        self._request = 0
        self._lost_at = 0.0
        self._pause_until = 0.0
        self._connection = 0
        self._changed = asyncio.Event()
        self._loop: asyncio.Task[None] | None = None
        self._inbox: Subscription | None = None
        self._stopping = False
        self._log = structlog.get_logger("shared.messaging").bind(durable=durable.name)

    async def start(self, client: Client) -> None:
        self._client = client
        self._prefix = client.new_inbox()
        self._inbox = await client.subscribe(f"{self._prefix}.*", cb=self._on_message)
        self._loop = asyncio.create_task(self._ask_for_more())

    async def stop(self) -> None:
        """Asks for nothing more; what was on its way is given back at once. What is being worked on goes on."""
        self._stopping = True
        if self._loop is not None:
            await end_tasks(self._loop)
        if self._inbox is not None:
            with contextlib.suppress(nats.errors.Error, OSError, TimeoutError):
                async with asyncio.timeout(2.0):
                    await self._inbox.drain()  # type: ignore[no-untyped-call]

    async def join(self) -> None:
        """Returns when nothing is being worked on."""
        while self._working:
            await asyncio.wait(self._working)

    async def _ask_for_more(self) -> None:
        while not self._client.is_closed:
            self._changed.clear()
            self._forget_lost_request()
            free = self._slots - len(self._working)
            if free > 0 and self._wanted == 0 and self._now() >= self._pause_until:
                await self._ask_for(free)
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(LOOK_SECONDS):
                    await self._changed.wait()

    async def _ask_for(self, batch: int) -> None:
        self._request += 1
        self._wanted = batch
        self._lost_at = self._now() + LOST_AFTER_SECONDS
        self._connection = self._client.stats["reconnects"]
        body = json.dumps({"batch": batch, "expires": int(PULL_SECONDS * 1e9)}).encode()
        try:
            await self._client.publish(self._subject, body, reply=f"{self._prefix}.{self._request}")
        except (nats.errors.Error, OSError):
            self._refused("no connection")

    def _forget_lost_request(self) -> None:
        """A request does not outlive its connection on the server, and its end may get lost."""
        if self._wanted and (self._now() >= self._lost_at or self._client.stats["reconnects"] != self._connection):
            self._wanted = 0

    async def _on_message(self, message: Msg) -> None:
        status = (message.headers or {}).get(Header.STATUS.value)
        if status is not None and not message.reply:  # a stored message has where to acknowledge it, whatever its headers say
            return self._on_status(message, status)
        self._wanted = max(0, self._wanted - 1)
        if self._stopping or len(self._working) >= self._slots:
            # Answer to a request that was thought lost: somebody else has room for it.
            with contextlib.suppress(nats.errors.Error, OSError):
                await message.nak()
            return None
        task = asyncio.create_task(self._receive(message))
        self._working.add(task)
        task.add_done_callback(self._on_done)
        if self._wanted == 0:
            self._changed.set()
        return None

    def _on_status(self, message: Msg, status: str) -> None:
        if not message.subject.endswith(f".{self._request}"):
            return
        self._wanted = 0
        if status == REQUEST_ENDED:
            self._changed.set()
        else:
            self._refused((message.headers or {}).get(Header.DESCRIPTION.value, "") or f"status {status}")

    def _refused(self, reason: str) -> None:
        self._wanted = 0
        self._pause_until = self._now() + PAUSE_SECONDS
        self._log.warning("no messages to be had", reason=reason)

    def _on_done(self, task: asyncio.Task[None]) -> None:
        self._working.discard(task)
        self._changed.set()
        if not task.cancelled() and (error := task.exception()) is not None:
            self._log.error("delivery failed, it will be delivered again", exc_info=error)

    def _now(self) -> float:
        return asyncio.get_running_loop().time()
