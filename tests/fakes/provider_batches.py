"""Anthropic's Message Batches as the provider stand-in keeps and tells them."""

from __future__ import annotations

import json
import threading
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any, Protocol

from tests.fakes import provider_wire as wire
from tests.fakes.provider_replies import Reply, answered

BATCHES = "/v1/messages/batches"
Ending = Callable[[dict[str, Any]], str]
"""A request's parameters -> `succeeded`, `errored`, `expired` or `canceled`."""


class Answers(Protocol):
    """The stand-in, as far as its batches need it."""

    @property
    def url(self) -> str: ...

    def reply_to(self, asked: wire.Asked) -> Reply: ...


@dataclass
class Batch:
    id: str
    requests: list[dict[str, Any]]
    polls_left: int
    created_at: datetime = field(default_factory=lambda: datetime.now(UTC))
    cancelled: bool = False
    retrieved: int = 0

    @property
    def has_ended(self) -> bool:
        return self.polls_left <= 0


class StandinBatches:
    """`polls`: how often a new batch is said to be in progress; `ending`: how each of its requests ends."""

    def __init__(self) -> None:
        self.made: list[Batch] = []
        self.calls: list[str] = []
        """`METHOD path` of all calls."""
        self.polls = 0
        self.enabled = True
        self.ending: Ending = lambda params: "succeeded"
        self._faults: deque[Reply] = deque()
        self._lock = threading.Lock()

    def script(self, *faults: Reply) -> None:
        """What the next calls of the interface meet; a `cut` one takes effect all the same."""
        with self._lock:
            self._faults.extend(faults)

    def next_fault(self) -> Reply | None:
        with self._lock:
            return self._faults.popleft() if self._faults else None

    def call(self, method: str, path: str, body: dict[str, Any], answers: Answers) -> tuple[int, bytes]:
        """Status and body of one call of the interface."""
        path = path.partition("?")[0]
        with self._lock:
            self.calls.append(f"{method} {path}")
            if not self.enabled:
                return 404, _dumped(wire.anthropic_error(404, "not found"))
            if path == BATCHES:
                return 200, _dumped(self._create(body, answers) if method == "POST" else self._list(answers))
            batch_id, _, verb = path.removeprefix(f"{BATCHES}/").partition("/")
            batch = next((each for each in self.made if each.id == batch_id), None)
            if batch is None:
                return 404, _dumped(wire.anthropic_error(404, f"no batch {batch_id}"))
            if verb == "results":
                return 200, b"".join(_dumped(self._result(batch, each, answers)) + b"\n" for each in reversed(batch.requests))
            return 200, _dumped(self._cancelled(batch, answers) if verb == "cancel" else self._polled(batch, answers))

    def _create(self, body: dict[str, Any], answers: Answers) -> dict[str, Any]:
        batch = Batch(f"msgbatch_{len(self.made)}", body["requests"], self.polls)
        self.made.append(batch)
        return _told(batch, answers)

    def _list(self, answers: Answers) -> dict[str, Any]:
        told = [_told(batch, answers) for batch in reversed(self.made)]
        return {"data": told, "has_more": False, "first_id": None, "last_id": None}

    def _polled(self, batch: Batch, answers: Answers) -> dict[str, Any]:
        batch.retrieved += 1
        told = _told(batch, answers)
        batch.polls_left -= 1
        return told

    def _cancelled(self, batch: Batch, answers: Answers) -> dict[str, Any]:
        if not batch.has_ended:
            batch.cancelled, batch.polls_left = True, 1
        return _told(batch, answers)

    def _result(self, batch: Batch, request: dict[str, Any], answers: Answers) -> dict[str, Any]:
        ending = "canceled" if batch.cancelled else self.ending(request["params"])
        result: dict[str, Any] = {"type": ending}
        if ending == "succeeded":
            asked = wire.read("/v1/messages", request["params"])
            result["message"] = wire.answer(asked, answered(answers.reply_to(asked)))
        if ending == "errored":
            result["error"] = {**wire.anthropic_error(400, "scripted fault"), "request_id": None}
        return {"custom_id": request["custom_id"], "result": result}


def _told(batch: Batch, answers: Answers) -> dict[str, Any]:
    ended = batch.has_ended
    counts = dict.fromkeys(("processing", "succeeded", "errored", "canceled", "expired"), 0)
    counts["succeeded" if ended else "processing"] = len(batch.requests)
    return {
        "id": batch.id,
        "type": "message_batch",
        "processing_status": "ended" if ended else "canceling" if batch.cancelled else "in_progress",
        "request_counts": counts,
        "created_at": batch.created_at.isoformat(),
        "expires_at": (batch.created_at + timedelta(hours=24)).isoformat(),
        "ended_at": datetime.now(UTC).isoformat() if ended else None,
        "cancel_initiated_at": None,
        "archived_at": None,
        "results_url": f"{answers.url}{BATCHES}/{batch.id}/results" if ended else None,
    }


def _dumped(value: dict[str, Any]) -> bytes:
    return json.dumps(value).encode()
