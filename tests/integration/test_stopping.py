"""One search and one experiment are stopped from the command line: real servers, guardrail, executor and evolution."""

from __future__ import annotations

import time
import uuid
from typing import Any

import pytest

from evoline.client.api import Client
from shared.events.experiments import GetExperiment, StartExperiment
from shared.events.improvement import GetEvolution, StartEvolution
from shared.events.message import Command as Order
from shared.events.message import Query
from shared.events.quotas import ListReservations
from tests.eventually import eventually
from tests.fakes.provider_standin import ProviderStandin, provider_standin
from tests.integration.commands import Command
from tests.integration.test_experiments import alice, model, pipeline

__all__ = ["alice", "provider_standin"]
pytestmark = [pytest.mark.usefixtures("empty_streams"), pytest.mark.timeout(180)]

SEARCH = StartEvolution(evolution_id="search-1", pipeline="mood", dataset_id="moods", evaluations=100, author="alice")
TRIAL = StartExperiment.model_validate(
    {
        "experiment_id": "trial-1",
        "pipeline": "mood",
        "dataset_id": "moods",
        "variants": [{"label": "slow", "document": pipeline("[50] Judge slowly.")}],
        "author": "alice",
    }
)


async def under_way(client: Client, order: Order, query: Query, standin: ProviderStandin) -> None:
    """Begun, and asking its provider."""
    before = len(standin.requests)
    await client.bus.publish(order, cause=uuid.uuid4().hex)
    await eventually(lambda: len(standin.requests) > before + 8, 60)
    record = await client.ask(query)
    assert not record.get("answer"), "it goes on"


async def reserved(client: Client) -> list[Any]:
    return [one for one in (await client.ask(ListReservations()))["reservations"] if one["holder"] == "evolution"]


async def test_what_is_stopped_ends_at_once_gives_back_its_budget_and_stays_ended(
    alice: Client, command: Command, provider_standin: ProviderStandin
) -> None:
    def slowly(messages: list[dict[str, str]], schema: dict[str, Any] | None) -> Any:
        time.sleep(0.2)
        return model(messages, schema)

    provider_standin.answer = slowly
    why = ("--reason", "the wrong data set", "--author", "alice", "--json")
    cases = (
        (SEARCH, GetEvolution(evolution_id="search-1"), ("stop", "search-1"), "verdict"),
        (TRIAL, GetExperiment(experiment_id="trial-1"), ("experiment", "stop", "trial-1"), "outcome"),
    )
    for order, query, words, how in cases:
        await under_way(alice, order, query, provider_standin)
        assert await reserved(alice)
        code, told, error = await command(*words, *why)
        assert (code, told[how], told["reasons"], error) == (0, "stopped", ["stopped by alice: the wrong data set"], "")

        async def is_free() -> bool:
            return not await reserved(alice)

        await eventually(is_free, 30)
        record = await alice.ask(query)
        assert (record["status"], record["answer"][how]) == ("finished", "stopped") and "change_id" not in record
        code, again, _ = await command(*words, *why)
        assert (code, again) == (0, told), "again it is told again"
        code, refused, _ = await command(*words[:-1], "nothing", *why)
        assert code == 1 and "'nothing'" in refused["error"]["message"]
    asked = len(provider_standin.requests)
    for order, *_ in cases:
        await alice.bus.publish(order, cause=uuid.uuid4().hex)
    code, listed, _ = await command("datasets", "--json")
    assert code == 0 and [one["dataset_id"] for one in listed["datasets"]] == ["moods"]
    code, text, _ = await command("datasets", "--domain", "law")
    assert code == 0 and "no data set is registered" in text
    assert len(provider_standin.requests) == asked, "the same orders come back to their ends"
