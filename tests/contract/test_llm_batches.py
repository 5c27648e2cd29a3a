"""A provider's batch interface: Anthropic's through its SDK against the stand-in, and the fake, held to one suite."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from prometheus_client import CollectorRegistry
from pydantic import SecretStr

from services.executor.adapters.metrics import MeteredModel
from shared.clock import SystemClock
from shared.errors import EvolineError, ProviderError, ProviderRefusedError
from shared.llm import ModelOnDemand
from shared.llm.anthropic import AnthropicModel
from shared.llm.endpoint import LOCAL_MODEL, Endpoint
from shared.llm.gemini import GeminiModel
from shared.llm.prices import PriceTable
from shared.pipeline.batches import MessageBatches, batches_of
from shared.pipeline.completion import Completion, CompletionRequest
from shared.telemetry.metrics import ProviderMetrics
from tests.contract.test_llm_adapters import KEY, LABEL, ask, build, provider_standin
from tests.fakes.batches import InMemoryBatches
from tests.fakes.language_model import ScriptedModel
from tests.fakes.provider_standin import ProviderStandin, Reply, fault, status

__all__ = ["provider_standin"]
Polls = InMemoryBatches | Any


@pytest.fixture
async def real(provider_standin: ProviderStandin) -> AsyncIterator[MessageBatches]:
    adapter = AnthropicModel(Endpoint("claude-opus-5-5", SecretStr(KEY), provider_standin.url), PriceTable.load())
    batches = await adapter.batches()
    assert batches is not None
    yield batches
    await adapter.close()


@pytest.fixture(params=["real", "fake"])
def both(request: pytest.FixtureRequest, real: MessageBatches, provider_standin: ProviderStandin) -> tuple[MessageBatches, Polls]:
    """The interface, and where a test says how long its batches take."""
    fake = InMemoryBatches(lambda asked: asked.messages[-1].text)
    return (real, provider_standin.batches) if request.param == "real" else (fake, fake)


def asks(*prompts: str, stem: str = "run-1", **options: Any) -> dict[str, CompletionRequest]:
    return {f"{stem}-{number}": ask("claude", prompt, **options) for number, prompt in enumerate(prompts)}


async def test_every_request_of_a_batch_is_answered_under_its_own_id(both: tuple[MessageBatches, Polls]) -> None:
    batches, _ = both
    batch_id = await batches.submit(asks("one", "two", "three"))
    assert await batches.has_ended(batch_id)
    results = await batches.results(batch_id)
    assert {name: each.text for name, each in results.items() if isinstance(each, Completion)} == {
        "run-1-0": "one",
        "run-1-1": "two",
        "run-1-2": "three",
    }


async def test_a_batch_takes_its_time(both: tuple[MessageBatches, Polls]) -> None:
    batches, provider = both
    provider.polls = 2
    batch_id = await batches.submit(asks("one"))
    assert [await batches.has_ended(batch_id) for _ in range(3)] == [False, False, True]


async def test_a_cancelled_batch_ends_without_answers(both: tuple[MessageBatches, Polls]) -> None:
    batches, provider = both
    provider.polls = 1000
    batch_id = await batches.submit(asks("one"))
    await batches.cancel(batch_id)
    assert [await batches.has_ended(batch_id) for _ in range(2)] == [False, True]
    assert isinstance((await batches.results(batch_id))["run-1-0"], ProviderRefusedError)


async def test_cancelling_what_has_ended_or_is_unknown_does_nothing(both: tuple[MessageBatches, Polls]) -> None:
    batches, _ = both
    batch_id = await batches.submit(asks("one"))
    await batches.cancel(batch_id)
    await batches.cancel("unknown")
    assert isinstance((await batches.results(batch_id))["run-1-0"], Completion)


async def test_an_ended_batch_is_found_by_the_ids_of_its_requests(both: tuple[MessageBatches, Polls]) -> None:
    batches, provider = both
    began = datetime.now(UTC)
    mine = await batches.submit(asks("one", "two", stem="mine"))
    await batches.submit(asks("one", "two", stem="other"))
    provider.polls = 1000
    await batches.submit(asks("one", "two", stem="slow"))
    assert await batches.find("mine", 2, began) == mine
    assert await batches.find("mine", 1, began) is None
    assert await batches.find("nobody", 2, began) is None
    assert await batches.find("slow", 2, began) is None
    assert await batches.find("mine", 2, began + timedelta(hours=1)) is None


async def test_an_unknown_batch_is_refused(both: tuple[MessageBatches, Polls]) -> None:
    batches, _ = both
    with pytest.raises(ProviderRefusedError):
        await batches.has_ended("unknown")


async def test_requests_travel_whole_and_cost_half(real: MessageBatches, provider_standin: ProviderStandin) -> None:
    provider_standin.answer = lambda messages, schema: {"label": "positive"}
    provider_standin.served_by = "anthropic"
    batch_id = await real.submit(asks("one", json_schema=LABEL, system="be brief", max_tokens=7))
    params = provider_standin.batches.made[0].requests[0]["params"]
    assert (params["system"], params["max_tokens"], params["model"]) == ("be brief", 7, "claude-opus-5-5")
    assert params["output_config"]["format"]["type"] == "json_schema"
    answer = (await real.results(batch_id))["run-1-0"]
    assert isinstance(answer, Completion)
    usage = answer.usage
    whole = PriceTable.load().cost_usd("anthropic", answer.model, usage)
    assert 0 < usage.cost_usd == pytest.approx(whole / 2)


async def test_each_request_ends_in_its_own_way(real: MessageBatches, provider_standin: ProviderStandin) -> None:
    endings = {"one": "succeeded", "two": "errored", "three": "expired", "four": "canceled", "five": "new"}
    provider_standin.batches.ending = lambda params: endings[params["messages"][0]["content"][0]["text"]]
    results = await real.results(await real.submit(asks(*endings)))
    kinds = [each.kind if isinstance(each, ProviderError) else type(each) for each in results.values()]
    assert sorted(map(str, kinds)) == sorted(
        map(str, [Completion, ProviderRefusedError, "timeout", ProviderRefusedError, "invalid_answer"])
    )


async def test_an_answer_that_is_none_fails_its_request_only(real: MessageBatches, provider_standin: ProviderStandin) -> None:
    provider_standin.answer = lambda messages, schema: fault("empty") if messages[-1]["text"] == "two" else "fine"
    results = await real.results(await real.submit(asks("one", "two")))
    failed = results["run-1-1"]
    assert isinstance(results["run-1-0"], Completion)
    assert isinstance(failed, ProviderError)
    assert failed.kind == "invalid_answer"


@pytest.mark.parametrize(
    ("reply", "kind"),
    [
        (status(429, retry_after="7"), "rate_limit"),
        (status(500), "server"),
        (status(529), "overload"),
        (fault("cut"), "connection"),
        (fault("invalid_json"), "invalid_answer"),
        (fault("wrong_shape"), "invalid_answer"),
    ],
    ids=["429", "500", "529", "cut", "invalid_json", "wrong_shape"],
)
async def test_a_failing_interface_is_named_by_its_kind(
    real: MessageBatches, provider_standin: ProviderStandin, reply: Reply, kind: str
) -> None:
    batch_id = await real.submit(asks("one"))
    for call in (real.submit(asks("one")), real.has_ended(batch_id)):
        provider_standin.batches.script(reply)
        with pytest.raises(ProviderError) as caught:
            await call
        assert (caught.value.kind, caught.value.retry_after_seconds) == (kind, 7.0 if kind == "rate_limit" else None)


@pytest.mark.parametrize("code", [400, 401])
async def test_a_refused_batch_is_permanent_and_hides_the_key(
    real: MessageBatches, provider_standin: ProviderStandin, code: int
) -> None:
    provider_standin.batches.script(status(code, f"bad key {KEY}"))
    with pytest.raises(ProviderRefusedError, match="bad key") as caught:
        await real.submit(asks("one"))
    assert KEY not in str(caught.value)


async def test_an_endpoint_without_the_interface_says_what_to_do_instead(
    real: MessageBatches, provider_standin: ProviderStandin
) -> None:
    provider_standin.batches.enabled = False
    with pytest.raises(ProviderRefusedError, match="use `mode: parallel`"):
        await real.submit(asks("one"))


async def test_only_models_of_a_provider_with_the_interface_offer_it(provider_standin: ProviderStandin) -> None:
    own_server = AnthropicModel(Endpoint(LOCAL_MODEL, base_url=provider_standin.url), PriceTable.load())
    google, claude = build("gemini", provider_standin.url, KEY), build("claude", provider_standin.url, KEY)
    assert isinstance(google, GeminiModel)
    assert [await batches_of(model) for model in (own_server, google, ScriptedModel())] == [None, None, None]
    assert await batches_of(ModelOnDemand(lambda: claude)) is not None
    for model in (own_server, google, claude):
        await model.close()


async def test_what_a_batch_used_is_metered_as_it_is_read(provider_standin: ProviderStandin) -> None:
    registry = CollectorRegistry()
    claude = build("claude", provider_standin.url, KEY)
    batches = await batches_of(MeteredModel("claude", claude, ProviderMetrics(registry), SystemClock()))
    assert batches is not None
    batch_id = await batches.submit(asks("one", "two"))
    results = await batches.results(batch_id)
    await claude.close()
    spent = sum(each.usage.cost_usd for each in results.values() if not isinstance(each, EvolineError))
    cost = {"provider": "anthropic", "model": "standin-1"}
    assert registry.get_sample_value("evoline_provider_cost_usd_total", cost) == pytest.approx(spent)
