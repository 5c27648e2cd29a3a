"""Structured logs on standard output: one JSON object a line, or text for people; with trace ids, without secrets."""

from __future__ import annotations

import logging
import sys
from collections.abc import MutableMapping
from typing import Any, TextIO

import structlog
from opentelemetry.trace import format_span_id, format_trace_id, get_current_span
from structlog.typing import Processor

from shared.settings import SharedSettings
from shared.telemetry.redaction import redact

QUIET = ("faststream", "uvicorn", "nats", "httpx2", "httpcore2", "pymongo", "asyncio", "opentelemetry")
"""Libraries whose informative lines repeat what we log ourselves."""

Event = MutableMapping[str, Any]


def configure_logging(settings: SharedSettings, *, service: str, output: TextIO | None = None) -> None:
    """Sets up this process's logging, structlog and the standard library's alike; `output` defaults to standard output."""
    shared: list[Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        _with_service(service),
        add_trace_ids,
        structlog.processors.format_exc_info,
        hide_secrets,
    ]
    structlog.configure(
        processors=[structlog.stdlib.filter_by_level, *shared, structlog.stdlib.ProcessorFormatter.wrap_for_formatter],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.stdlib.BoundLogger,
        cache_logger_on_first_use=False,
    )
    handler = logging.StreamHandler(output or sys.stdout)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, _renderer(settings)],
            foreign_pre_chain=shared,
        )
    )
    root = logging.getLogger()
    root.handlers = [handler]
    root.setLevel(settings.log_level.upper())
    for name in QUIET:
        logging.getLogger(name).setLevel(logging.WARNING)


def add_trace_ids(_: Any, __: str, event: Event) -> Event:
    context = get_current_span().get_span_context()
    if context.is_valid:
        event["trace_id"] = format_trace_id(context.trace_id)
        event["span_id"] = format_span_id(context.span_id)
    return event


def hide_secrets(_: Any, __: str, event: Event) -> Event:
    for key, value in redact(event).items():
        if not key.startswith("_"):
            event[key] = value
    return event


def _with_service(service: str) -> Processor:
    def add(_: Any, __: str, event: Event) -> Event:
        event.setdefault("service", service)
        return event

    return add


def _renderer(settings: SharedSettings) -> Processor:
    if settings.log_format == "text":
        return structlog.dev.ConsoleRenderer(colors=False)
    return structlog.processors.JSONRenderer(default=str)
