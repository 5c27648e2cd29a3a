"""Spans leave the process over OTLP/HTTP where an endpoint is set."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from shared.telemetry.tracing import Tracing


class Sink(HTTPServer):
    """Keeps the names of the spans that it is sent, with the service that they are from."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Receiver)
        self.names: list[tuple[str, str]] = []


class Receiver(BaseHTTPRequestHandler):
    def do_POST(self) -> None:
        assert isinstance(self.server, Sink)
        request = ExportTraceServiceRequest.FromString(self.rfile.read(int(self.headers["content-length"])))
        for resource in request.resource_spans:
            service = next(item.value.string_value for item in resource.resource.attributes if item.key == "service.name")
            self.server.names += [(service, span.name) for scope in resource.scope_spans for span in scope.spans]
        self.send_response(200)
        self.send_header("content-length", "0")
        self.end_headers()

    def log_message(self, *_: object) -> None:
        return


@pytest.fixture
def sink() -> Iterator[Sink]:
    server = Sink()
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield server
    server.shutdown()
    thread.join()
    server.server_close()


async def test_ended_spans_are_exported_at_the_latest_when_tracing_closes(sink: Sink) -> None:
    tracing = Tracing(service="learner", version="1", endpoint=f"http://127.0.0.1:{sink.server_port}/v1/traces")
    with tracing.tracer("test").start_as_current_span("work"):
        pass
    await tracing.close()
    assert sink.names == [("evoline-learner", "work")]


async def test_collector_that_is_away_does_not_break_the_process() -> None:
    tracing = Tracing(service="learner", version="1", endpoint="http://127.0.0.1:1/v1/traces")
    with tracing.tracer("test").start_as_current_span("work"):
        pass
    await tracing.close()
