"""Traces by OpenTelemetry: exported over OTLP/HTTP where an endpoint is set; elsewhere ids are made and passed on, none kept."""

from __future__ import annotations

import asyncio

from opentelemetry import trace
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import SpanProcessor, TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from opentelemetry.sdk.trace.sampling import ALWAYS_OFF, ALWAYS_ON

EXPORT_SECONDS = 3


class Tracing:
    """One process's tracer provider. `processor` is for tests; else the endpoint decides."""

    def __init__(self, *, service: str, version: str, endpoint: str = "", processor: SpanProcessor | None = None) -> None:
        if endpoint and processor is None:
            processor = _exporting_to(endpoint)
        resource = Resource.create({"service.name": f"evoline-{service}", "service.version": version})
        sampler = ALWAYS_ON if processor else ALWAYS_OFF
        self.provider = TracerProvider(resource=resource, sampler=sampler, shutdown_on_exit=False)
        if processor:
            self.provider.add_span_processor(processor)

    def tracer(self, name: str) -> trace.Tracer:
        return self.provider.get_tracer(name)

    def install(self) -> None:
        """Makes it the process's own, so that the model SDKs' spans join; once, at the edge of a process."""
        trace.set_tracer_provider(self.provider)

    async def close(self) -> None:
        """Sends what is left, for at most a few seconds, without blocking the event loop."""
        await asyncio.to_thread(self.provider.shutdown)


def _exporting_to(endpoint: str) -> SpanProcessor:
    # Imported here because it takes an eighth of a process's start and most processes never need it.
    from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter

    return BatchSpanProcessor(OTLPSpanExporter(endpoint=endpoint, timeout=EXPORT_SECONDS))
