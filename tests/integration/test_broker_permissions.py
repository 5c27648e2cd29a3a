"""Every subject x every user of the broker, on a real one with the generated configuration: allowed works, all else is denied."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator, Iterable
from pathlib import Path
from typing import Any

import nats
import pytest
from nats.aio.client import Client

from evoline.secret_files import SecretStore
from shared.errors import ConfigurationError
from shared.events import Fact, catalogue
from shared.messaging.connection import ConnectionLog, client_options, open_client
from shared.messaging.permissions import ADMIN, permissions, roles, services
from tests.broker_subjects import STORES, allows, to_publish, to_subscribe
from tests.guarded_broker import GuardedBroker

DENIED = re.compile(r'permissions violation for (publish|subscription) to "([^"]*)"', re.IGNORECASE)
ADMINISTRATION = (
    "STREAM.CREATE", "STREAM.UPDATE", "STREAM.PURGE", "STREAM.DELETE", "STREAM.MSG.DELETE", "DIRECT.GET", "CONSUMER.LIST",
)  # fmt: skip


class Prober:
    """One connection of a user, and what the broker denied it."""

    def __init__(self, client: Client, denied: set[tuple[str, str]]) -> None:
        self.client = client
        self._denied = denied

    async def denied(self, act: str, subjects: Iterable[str]) -> set[str]:
        """Those of `subjects` that may not be published (or subscribed), tried all at once."""
        self._denied.clear()
        places = [(subject, *subject.split(" ")) for subject in subjects]
        for _, subject, *queue in places:
            if act == "publish":
                await self.client.publish(subject, b"{}")
            else:
                await self.client.subscribe(subject, queue="".join(queue), cb=_ignore)
        await self.client.flush()
        await self.client.flush()
        heard = {subject for kind, subject in self._denied if kind == act}
        return {whole for whole, subject, *_ in places if subject.lower() in heard}


async def _ignore(_: Any) -> None:
    """What arrives is no matter here."""


@pytest.fixture(params=roles())
async def prober(broker: GuardedBroker, request: pytest.FixtureRequest) -> AsyncIterator[tuple[str, Prober]]:
    denied: set[tuple[str, str]] = set()

    async def hear(error: Exception) -> None:
        if match := DENIED.search(str(error)):
            denied.add((match.group(1).lower().replace("subscription", "subscribe"), match.group(2).lower()))

    options = client_options(broker.settings(request.param), request.param, ConnectionLog(request.param), None)
    made = Prober(await nats.connect(**options | {"error_cb": hear}), denied)
    yield request.param, made
    await made.client.close()


async def test_each_user_may_publish_exactly_what_the_table_says(prober: tuple[str, Prober]) -> None:
    role, connection = prober
    # The administrator may change streams; tried out here it would.
    subjects = {each for each in to_publish() if role != ADMIN or not each.startswith("$JS.API.")}
    allowed = next(each.publish for each in permissions() if each.role == role)
    expected = {subject for subject in subjects if not allows(allowed, subject)}
    assert await connection.denied("publish", sorted(subjects)) == expected
    assert len(expected) > 100 and len(subjects - expected) >= len(allowed) - 1


async def test_each_user_may_subscribe_exactly_what_the_table_says(prober: tuple[str, Prober]) -> None:
    role, connection = prober
    allowed = next(each.subscribe for each in permissions() if each.role == role)
    for queue in ("", *services(), "other"):
        subjects = {each for each in to_subscribe() if each.partition(" ")[2] == queue}
        expected = {subject for subject in subjects if not allows(allowed, subject)}
        assert await connection.denied("subscribe", sorted(subjects)) == expected


def test_verdicts_are_the_guardrails_alone() -> None:
    verdicts = [fact.subject for fact in catalogue() if issubclass(fact, Fact) and fact.owner == "guardrail"]
    assert {"evt.change.approved", "evt.change.vetoed", "evt.gate.finished", "evt.pipeline.deployed"} <= set(verdicts)
    for each in permissions():
        may = [subject for subject in verdicts if allows(each.publish, subject)]
        assert may == (verdicts if each.role in {"guardrail", ADMIN} else []), each.role


def test_only_the_administrator_has_the_calls_that_would_undo_the_rest() -> None:
    for each in permissions():
        calls = [f"$JS.API.{call}.{name}" for call in ADMINISTRATION for name in STORES]
        calls.append("$JS.API.DIRECT.GET.KV_limits.$KV.limits.key")
        assert [call for call in calls if allows(each.publish, call)] == (calls if each.role == ADMIN else []), each.role


async def test_nobody_enters_without_a_key_or_with_one_that_is_not_listed(broker: GuardedBroker, tmp_path: Path) -> None:
    stranger = SecretStore(tmp_path)
    stranger.create()
    right = broker.settings("guardrail")
    for changes in ({"nats_seed_file": stranger.seed_file("guardrail")}, {"nats_seed_file": None, "nats_user": ""}):
        with pytest.raises(ConfigurationError, match=r"[Aa]uthorization [Vv]iolation"):
            await open_client(right.model_copy(update=changes), name="stranger")
