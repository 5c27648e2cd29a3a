from __future__ import annotations

import io
import json
import logging
from collections.abc import Iterator
from typing import Any

import pytest
import structlog

from shared.settings import SharedSettings
from shared.telemetry.logging import configure_logging
from shared.telemetry.redaction import HIDDEN, redact, redact_text
from shared.telemetry.tracing import Tracing


@pytest.fixture(autouse=True)
def logging_as_it_was() -> Iterator[None]:
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    yield
    root.handlers, root.level = handlers, level
    structlog.reset_defaults()


def lines(output: io.StringIO) -> list[dict[str, Any]]:
    return [json.loads(line) for line in output.getvalue().splitlines()]


def test_each_line_is_one_json_object_from_structlog_and_the_standard_library_alike() -> None:
    output = io.StringIO()
    configure_logging(SharedSettings(), service="learner", output=output)
    structlog.get_logger("a").info("two\nlines", count=3)
    logging.getLogger("b").warning("from %s", "elsewhere")
    structlog.get_logger("a").debug("too quiet")
    first, second = lines(output)
    assert (first["event"], first["count"], first["level"], first["service"]) == ("two\nlines", 3, "info", "learner")
    assert (second["event"], second["level"]) == ("from elsewhere", "warning")


def test_lines_inside_a_span_carry_its_ids_even_without_an_exporter() -> None:
    output = io.StringIO()
    configure_logging(SharedSettings(), service="learner", output=output)
    with Tracing(service="learner", version="0").tracer("t").start_as_current_span("work") as span:
        structlog.get_logger("a").info("inside")
    structlog.get_logger("a").info("outside")
    inside, outside = lines(output)
    assert inside["trace_id"] == f"{span.get_span_context().trace_id:032x}"
    assert "trace_id" not in outside


def test_secrets_never_reach_the_output_in_fields_texts_or_tracebacks() -> None:
    output = io.StringIO()
    configure_logging(SharedSettings(), service="learner", output=output)
    log = structlog.get_logger("a")
    log.info("connect mongodb://bob:hunter2@db/x", password="hunter2", nested={"api_key": "hunter2", "tokens": 12})
    try:
        raise ValueError("Authorization: Bearer hunter2")
    except ValueError:
        log.exception("failed")
    assert "hunter2" not in output.getvalue()
    assert lines(output)[0]["nested"] == {"api_key": HIDDEN, "tokens": 12}


def test_text_format_is_for_people() -> None:
    output = io.StringIO()
    configure_logging(SharedSettings(log_format="text"), service="learner", output=output)
    structlog.get_logger("a").info("hello", count=3)
    assert "hello" in output.getvalue()
    assert "count=3" in output.getvalue()


@pytest.mark.parametrize(
    "secret",
    ["sk-ant-api03-abcdefgh", "AIzaSyA1234567890abcdefghijk", "-----BEGIN PRIVATE KEY-----\nabc\n-----END PRIVATE KEY-----"],
)
def test_values_that_look_like_secrets_are_hidden_wherever_they_stand(secret: str) -> None:
    assert secret not in redact_text(f"before {secret} after")
    assert redact_text(f"before {secret} after").endswith("after")
    long = "word " * 2000
    assert secret not in redact_text(f"{long}{secret}") and secret.upper() not in redact_text(f"{long}{secret.upper()}")
    assert secret not in str(redact({"deep": [{"text": secret}]}))


def test_what_is_no_secret_stays() -> None:
    fields = {"input_tokens": 5, "subject": "cmd.executor.execute", "url": "nats://127.0.0.1:4222", "key": "alpha", "none": None}
    assert redact(fields) == fields
