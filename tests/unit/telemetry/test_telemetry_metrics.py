from __future__ import annotations

import asyncio

import pytest
from prometheus_client import CollectorRegistry, generate_latest
from starlette.testclient import TestClient

from shared.errors import ConfigurationError, UnavailableError
from shared.telemetry.http import HttpServer, Probes, application, readiness
from shared.telemetry.metrics import Metrics, Tokens, catalogue

ID_LABELS = {"run_id", "request_id", "change_id", "message_id", "trace_id", "digest", "case_id", "group_id", "id"}


def test_every_metric_is_registered_with_unit_and_meaning() -> None:
    registry = CollectorRegistry()
    Metrics(registry, service="learner", version="1")
    exposed = {metric.name for metric in registry.collect()}
    for metric in catalogue():
        assert metric.name.removesuffix("_total") in exposed
        assert metric.unit
        assert metric.meaning.endswith(".")


def test_names_say_their_unit_and_no_label_holds_an_id() -> None:
    for metric in catalogue():
        assert metric.name.startswith("evoline_")
        assert metric.name.endswith("_total") == (metric.kind == "counter"), metric.name
        assert metric.unit != "seconds" or metric.name.endswith("_seconds")
        assert not ID_LABELS & set(metric.labels)


def test_two_registries_do_not_share_a_count() -> None:
    first, second = CollectorRegistry(), CollectorRegistry()
    metrics = Metrics(first, service="a", version="1")
    Metrics(second, service="b", version="1")
    metrics.bus.handled("cmd.learner.learn", "done", 0.1)
    labels = {"subject": "cmd.learner.learn", "outcome": "done"}
    assert first.get_sample_value("evoline_bus_messages_total", labels) == 1.0
    assert second.get_sample_value("evoline_bus_messages_total", labels) is None


def test_what_is_reported_is_exposed() -> None:
    registry = CollectorRegistry()
    metrics = Metrics(registry, service="executor", version="1")
    metrics.runs.finished("trial", "succeeded", 1.5)
    metrics.runs.step("claude", "ok", 0.5)
    metrics.runs.in_flight.set(3)
    metrics.providers.called("local", "qwen", "ok", 0.4)
    metrics.providers.used("local", "qwen", Tokens(input=10, cached_input=4, output=2), 0.01)
    metrics.providers.waited("anthropic", "*", 0.2)
    metrics.providers.not_permitted("anthropic", "*", "late")
    metrics.providers.paused("anthropic", "*")
    metrics.changes.judged("revision", "approved", 0.02)
    metrics.changes.reviews_waiting.set(2)
    metrics.changes.freezes.set(1)
    metrics.changes.held.set(3)
    metrics.budgets.refused("purpose")
    metrics.budgets.stand({("system", "", "runs", "used"): 3.0}, {("service", "learner"): 1.0})
    metrics.budgets.stand({("system", "", "runs", "used"): 4.0}, {("service", "evolution"): 0.5})
    assert "learner" not in generate_latest(registry).decode().split("evoline_budget_full_share", 1)[1]
    metrics.generation.finished("approved", 20.0)
    metrics.evolution.evaluated("climb", "run", 5)
    metrics.evolution.certified("climb", 0.12)
    metrics.gains.stand({("climb", "realised"): 7.5}, {"contradicted": 2})
    expected = {
        ("evoline_runs_total", ("trial", "succeeded")): 1.0,
        ("evoline_steps_total", ("claude", "ok")): 1.0,
        ("evoline_runs_in_flight", ()): 3.0,
        ("evoline_provider_tokens_total", ("local", "qwen", "cached_input")): 4.0,
        ("evoline_provider_wait_seconds_count", ("anthropic", "*")): 1.0,
        ("evoline_provider_not_permitted_total", ("anthropic", "*", "late")): 1.0,
        ("evoline_provider_pauses_total", ("anthropic", "*")): 1.0,
        ("evoline_changes_total", ("revision", "approved")): 1.0,
        ("evoline_reviews_waiting", ()): 2.0,
        ("evoline_budget_refusals_total", ("purpose",)): 1.0,
        ("evoline_budget_amount", ("system", "", "runs", "used")): 4.0,
        ("evoline_budget_full_share", ("service", "evolution")): 0.5,
        ("evoline_generation_seconds_count", ("approved",)): 1.0,
        ("evoline_evolution_evaluations_total", ("climb", "run")): 5.0,
        ("evoline_evolution_gain_points", ("climb",)): 12.0,
        ("evoline_strategy_gain_points", ("climb", "realised")): 7.5,
        ("evoline_realised_claims", ("contradicted",)): 2.0,
        ("evoline_realised_claims", ("no_data",)): 0.0,
    }
    labels = {metric.name: metric.labels for metric in catalogue()}
    for (name, values), value in expected.items():
        names = labels[name.removesuffix("_count")]
        assert registry.get_sample_value(name, dict(zip(names, values, strict=True))) == value, name
    assert b"evoline_provider_cost_usd_total" in generate_latest(registry)


async def fine() -> None:
    return


async def broken() -> None:
    raise UnavailableError("the store is down")


async def silent() -> None:
    await asyncio.Event().wait()


async def test_ready_only_when_every_check_is_and_each_says_what_is_wrong(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("shared.telemetry.http.CHECK_SECONDS", 0.05)
    assert (await readiness({"a": fine})).ready
    state = await readiness({"a": fine, "b": broken, "c": silent})
    assert not state.ready
    assert state.checks == {"a": "ok", "b": "the store is down", "c": "no answer within 0.05 s"}


def test_endpoints_answer_with_status_and_body() -> None:
    registry = CollectorRegistry()
    Metrics(registry, service="learner", version="9")
    checks = {"store": fine}
    client = TestClient(application(Probes("learner", "9", registry, checks)))
    assert client.get("/health").json() == {"status": "ok", "service": "learner", "version": "9"}
    assert client.get("/ready").status_code == 200
    checks["bus"] = broken
    assert (client.get("/ready").status_code, client.get("/ready").json()["checks"]["bus"]) == (503, "the store is down")
    assert 'evoline_service_info{service="learner",version="9"} 1.0' in client.get("/metrics").text
    assert "openmetrics" in client.get("/metrics", headers={"accept": "application/openmetrics-text"}).headers["content-type"]


async def test_a_port_that_is_given_free_within_the_patience_is_taken() -> None:
    app = application(Probes("learner", "9", CollectorRegistry(), {}))
    first = HttpServer(app, host="127.0.0.1", port=0)
    await first.start()
    second = HttpServer(app, host="127.0.0.1", port=first.address[1], patience_seconds=30)
    starting = asyncio.create_task(second.start())
    await asyncio.sleep(0)
    assert not starting.done()
    await first.stop()
    await starting
    assert second.address == first.address
    await second.stop()


async def test_second_server_on_a_port_is_told_which_one_is_taken() -> None:
    app = application(Probes("learner", "9", CollectorRegistry(), {}))
    first = HttpServer(app, host="127.0.0.1", port=0)
    await first.start()
    try:
        port = first.address[1]
        with pytest.raises(ConfigurationError, match=f"127.0.0.1:{port}"):
            await HttpServer(app, host="127.0.0.1", port=port).start()
    finally:
        await first.stop()
