from __future__ import annotations

import pytest

from shared.errors import (
    EvolineError,
    FencedError,
    InvalidInputError,
    LimitReachedError,
    NotAttestedError,
    PermanentError,
    Problem,
    ProviderError,
    TransientError,
    UnavailableError,
)
from shared.events.deployments import RollbackPipeline
from shared.events.generation import GeneratePipeline
from shared.events.runs import ExecuteRun
from shared.messaging import codec, envelope, headers
from shared.messaging.topology import MAX_BODY_BYTES


def test_every_fault_of_a_body_is_named_with_its_dotted_place() -> None:
    body = (
        b'{"request_id": "r", "requirements": "x", "domain": "d", "examples": [{"id": "1", "input": {}, "expected": 1}], "nope": 1}'
    )
    with pytest.raises(InvalidInputError) as error:
        codec.decode(GeneratePipeline, body)
    assert {problem.path for problem in error.value.problems} == {"requirements", "examples.0.input", "nope"}


@pytest.mark.parametrize("body", [b"", b"{", b"[]", b"null", b'"text"', b"\xff", b"[" * 100_000])
def test_what_is_no_object_is_one_problem_and_has_no_correlation(body: bytes) -> None:
    with pytest.raises(InvalidInputError) as error:
        codec.decode(ExecuteRun, body)
    assert len(error.value.problems) == 1
    assert codec.correlation_id(ExecuteRun, body) == ""


@pytest.mark.parametrize(
    ("message_class", "body", "expected"),
    [
        (ExecuteRun, b'{"run_id": "r-1", "nonsense": 1}', "r-1"),
        (RollbackPipeline, b'{"rollback_id": "back"}', "back"),
        (ExecuteRun, b'{"run_id": 5}', ""),
    ],
)
def test_correlation_is_the_first_id_field_of_the_body(message_class: type[ExecuteRun], body: bytes, expected: str) -> None:
    assert codec.correlation_id(message_class, body) == expected


def test_body_of_exactly_the_limit_is_taken_and_one_byte_more_is_refused() -> None:
    base = len(ExecuteRun(run_id="r", inputs={"text": ""}).model_dump_json())
    fits = ExecuteRun(run_id="r", inputs={"text": "x" * (MAX_BODY_BYTES - base)})
    assert len(codec.encode(fits)) == MAX_BODY_BYTES
    with pytest.raises(InvalidInputError, match="1,000,001 bytes"):
        codec.encode(ExecuteRun(run_id="r", inputs={"text": "x" * (MAX_BODY_BYTES - base + 1)}))


@pytest.mark.parametrize(
    "error",
    [
        InvalidInputError([Problem(path="a", reason="b", suggestion="c", file="f", line=3)]),
        LimitReachedError("calls", "enough"),
        NotAttestedError("nobody approved it"),
        UnavailableError("down"),
        ProviderError("rate_limit", "slow down", 2.5),
        FencedError("another owner"),
        PermanentError("no"),
    ],
)
def test_error_survives_the_envelope_with_its_type_and_details(error: EvolineError) -> None:
    with pytest.raises(type(error)) as opened:
        envelope.open_answer(envelope.failure(error))
    assert type(opened.value) is type(error)
    assert str(opened.value) == str(error)
    assert getattr(opened.value, "problems", ()) == getattr(error, "problems", ())
    assert getattr(opened.value, "kind", "") == getattr(error, "kind", "")


GARBAGE = (
    b"",
    b"hello",
    b"[]",
    b"3",
    b"\xff\xfe{}",
    b"null",
    b"{}",
    b"[" * 100_000,
    b'{"ok": "yes", "data": {}}',
    b'{"ok": 1, "data": {}}',
    b'{"ok": true, "data": {"amount": NaN}}',
    b'{"ok": true, "data": {"amount": 1e999}}',
    b'{"ok": false, "error": {"code": "provider", "message": "m", "retry_after_seconds": 1e999}}',
    b'{"ok": false, "error": [1]}',
    b'{"ok": false, "error": {"code": "invalid_input", "problems": [3]}}',
    b'{"ok": false, "error": {"code": "provider", "retry_after_seconds": "soon"}}',
    b'{"ok": true, "data": {}} and more',
)


def test_unknown_code_is_transient_and_what_is_no_envelope_is_unavailable() -> None:
    with pytest.raises(TransientError, match="code novel"):
        envelope.open_answer(b'{"ok": false, "error": {"code": "novel", "message": "m"}}')
    for body in GARBAGE:
        with pytest.raises(UnavailableError, match=r"answer to api.x.y is not one that can be used: it is not an envelope"):
            envelope.open_answer(body, "api.x.y")


def test_what_an_answer_lacks_is_the_answerers_fault() -> None:
    answer = envelope.open_answer(b'{"ok": true, "data": {"stable": "x"}}', "api.guardrail.get_pipeline")
    assert (answer["stable"], answer.get("document"), "document" in answer) == ("x", None, False)
    with pytest.raises(UnavailableError, match=r"api\.guardrail\.get_pipeline is not one that can be used: it has no `document`"):
        answer["document"]
    with pytest.raises(UnavailableError, match="it has no `pipelines`"):
        envelope.open_answer(b'{"ok": true, "data": ["pipelines"]}', "api.x.y")["pipelines"]


def test_header_text_is_one_line_of_plain_ascii() -> None:
    assert headers.one_line("a\r\nNats-Msg-Id: forged\té\x00") == "a Nats-Msg-Id: forged ??"
    assert len(headers.one_line("x" * 5000)) == 2000


def test_republished_copy_carries_no_broker_headers() -> None:
    kept = headers.without_broker_headers(
        {"Nats-Msg-Id": "1", "Nats-Expected-Stream": "X", "traceparent": "t", headers.DEAD_CODE: "c"}
    )
    assert kept == {"traceparent": "t"}
