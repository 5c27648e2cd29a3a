"""What the bus reports about itself; `shared.telemetry.metrics.BusMetrics` counts it."""

from __future__ import annotations

from typing import Literal, Protocol

Outcome = Literal["done", "retried", "dead_lettered", "abandoned"]


class BusObserver(Protocol):
    """`subject` is a message's subject, never with an id in it; times are seconds."""

    def handled(self, subject: str, outcome: Outcome, seconds: float) -> None: ...
    def redelivered(self, subject: str) -> None: ...
    def published(self, subject: str, seconds: float) -> None: ...
    def publish_retried(self, subject: str) -> None: ...
    def answered(self, subject: str, code: str, seconds: float) -> None:
        """`code` is `ok` or the error's code."""
        ...


class SilentObserver:
    def handled(self, subject: str, outcome: Outcome, seconds: float) -> None:
        return

    def redelivered(self, subject: str) -> None:
        return

    def published(self, subject: str, seconds: float) -> None:
        return

    def publish_retried(self, subject: str) -> None:
        return

    def answered(self, subject: str, code: str, seconds: float) -> None:
        return
