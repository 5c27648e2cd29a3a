from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

import pytest
from pydantic import SecretStr

from shared.errors import ProviderError, ProviderRefusedError
from shared.events.values import Usage
from shared.llm.endpoint import LOCAL_SERVER_NAME, Endpoint
from shared.llm.failures import Failures, retry_after_seconds
from shared.llm.prices import TABLE_FILE, PriceTable
from shared.llm.providers import claude_endpoint, gemini_endpoint
from shared.settings import ProviderSettings

USAGE = Usage(calls=1, input_tokens=1_000_000, cached_input_tokens=400_000, output_tokens=500_000)


def settings(**values: object) -> ProviderSettings:
    return ProviderSettings.model_validate({"anthropic_api_key": "", "gemini_api_key": "", **values})


def test_a_listed_model_costs_its_price_for_a_million_tokens() -> None:
    assert PriceTable.load().cost_usd("anthropic", "claude-opus-5-5", USAGE) == pytest.approx(4.0 + 10.0)


def test_a_dated_name_of_a_listed_model_has_the_price_of_that_model() -> None:
    table = PriceTable.load()
    assert table.cost_usd("anthropic", "claude-haiku-5-5-20261001", USAGE) == table.cost_usd("anthropic", "claude-haiku-5-5", USAGE)


def test_a_batch_costs_its_part_of_the_price_and_says_where_that_is_from() -> None:
    table = PriceTable.load()
    whole = table.cost_usd("anthropic", "claude-opus-5-5", USAGE)
    assert table.cost_usd("anthropic", "claude-opus-5-5", USAGE, in_batch=True) == pytest.approx(whole / 2)
    entries = json.loads(TABLE_FILE.read_text())["models"]
    assert all(entry["batch_source"] for entry in entries if entry.get("batch_factor", 1) < 1)


def test_an_unknown_model_costs_as_much_as_the_dearest_of_its_provider() -> None:
    table = PriceTable.load()
    assert table.cost_usd("anthropic", "claude-unheard-of", USAGE) == table.cost_usd("anthropic", "claude-opus-5-5", USAGE)


def test_the_local_model_costs_nothing_whatever_its_name() -> None:
    assert PriceTable.load().cost_usd("local", "claude-opus-5-5", USAGE) == 0.0


def test_every_price_says_when_and_where_it_was_taken() -> None:
    assert all(entry["as_of"] and entry["source"] for entry in json.loads(TABLE_FILE.read_text())["models"])


@pytest.mark.parametrize(("value", "seconds"), [("7", 7.0), ("0.5", 0.5), ("-1", None), ("soon", None), ("", None), ("nan", None)])
def test_retry_after_is_read_as_seconds_or_not_at_all(value: str, seconds: float | None) -> None:
    assert retry_after_seconds({"Retry-After": value}) == seconds


def test_retry_after_as_a_date_is_the_time_until_then() -> None:
    moment = format_datetime(datetime.now(UTC) + timedelta(seconds=30), usegmt=True)
    assert retry_after_seconds({"retry-after": moment}) == pytest.approx(30, abs=2)


@pytest.mark.parametrize(
    ("status", "kind"),
    [(408, "timeout"), (429, "rate_limit"), (500, "server"), (502, "server"), (503, "overload"), (529, "overload")],
)
def test_a_status_that_may_pass_becomes_a_provider_error_of_its_kind(status: int, kind: str) -> None:
    error = Failures("anthropic", "").of_status(status, "no", {})
    assert isinstance(error, ProviderError)
    assert error.kind == kind


@pytest.mark.parametrize("status", [400, 401, 403, 404, 413, 422])
def test_a_status_that_stays_becomes_a_refusal(status: int) -> None:
    assert isinstance(Failures("google", "").of_status(status, "no", {}), ProviderRefusedError)


def test_a_key_in_a_providers_message_never_reaches_the_error() -> None:
    error = Failures("anthropic", "sk-very-secret").of_status(401, "invalid x-api-key: sk-very-secret", {})
    assert "sk-very-secret" not in str(error)


def test_without_a_key_both_families_go_to_the_local_model() -> None:
    chosen = settings(local_model_url="http://127.0.0.1:1")
    for endpoint in (claude_endpoint(chosen), gemini_endpoint(chosen)):
        assert (endpoint.base_url, endpoint.model_for("claude-opus-5-5")) == ("http://127.0.0.1:1", "local")


def test_with_a_key_the_family_goes_to_its_provider_with_the_model_that_a_step_names() -> None:
    chosen = claude_endpoint(settings(anthropic_api_key="sk-1"))
    assert (chosen.base_url, chosen.model_for(None), chosen.model_for("claude-opus-5-5")) == (
        "",
        "claude-haiku-5-5",
        "claude-opus-5-5",
    )


def test_one_key_leaves_the_other_family_local() -> None:
    chosen = settings(gemini_api_key="g-1")
    assert claude_endpoint(chosen).is_local
    assert not gemini_endpoint(chosen).is_local


def test_an_answer_of_the_local_server_behind_a_key_is_still_local() -> None:
    endpoint = Endpoint("m", SecretStr("key"), "http://127.0.0.1:1")
    assert endpoint.provider_of({"X-Served-By": LOCAL_SERVER_NAME}, "anthropic") == "local"
    assert endpoint.provider_of({}, "anthropic") == "anthropic"
