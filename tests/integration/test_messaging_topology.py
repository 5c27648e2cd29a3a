"""Streams and durables: provisioned once, harmlessly again, missed loudly."""

from __future__ import annotations

from pathlib import Path

import pytest
from nats.js import api
from pydantic import SecretStr

from shared.errors import ConfigurationError, UnavailableError
from shared.events.improvement import LearnFromRuns, StartEvolution
from shared.messaging.bus import Bus
from shared.messaging.consumer import Consumer
from shared.messaging.handling import Delivery
from shared.messaging.provisioning import provision
from shared.messaging.topology import durables
from shared.settings import SharedSettings
from tests.conftest import OpenBus
from tests.eventually import eventually
from tests.messaging import DURABLE, consuming, learn
from tests.servers import free_port, nats_server, program, running


async def handle(message: LearnFromRuns, delivery: Delivery) -> None:
    return None


async def test_provisioning_again_changes_nothing_and_keeps_messages(open_bus: OpenBus, nats_url: str, empty_streams: None) -> None:
    bus = await open_bus("learner")
    await bus.publish(learn(), cause="test-provision-twice")
    before = await bus.jetstream.streams_info()
    assert await provision(nats_url) == await provision(nats_url)
    after = await bus.jetstream.streams_info()
    assert [(info.config, info.state.messages) for info in after] == [(info.config, info.state.messages) for info in before]


async def test_provisioning_mends_a_stream_and_a_durable_that_were_changed(open_bus: OpenBus, nats_url: str) -> None:
    bus = await open_bus("learner")
    stream = (await bus.jetstream.stream_info("EVT")).config
    stream.max_age = 600.0
    await bus.jetstream.update_stream(stream)
    durable = (await bus.jetstream.consumer_info("CMD", DURABLE)).config
    durable.ack_wait = 99.0
    await bus.jetstream.add_consumer("CMD", durable)
    await provision(nats_url)
    assert (await bus.jetstream.stream_info("EVT")).config.max_age == 30 * 86_400
    assert (await bus.jetstream.consumer_info("CMD", DURABLE)).config.ack_wait == 6.0


async def test_every_durable_is_explicit_and_dead_letters_before_the_server_gives_up(open_bus: OpenBus) -> None:
    bus = await open_bus("learner")
    for row in durables():
        config = (await bus.jetstream.consumer_info(row.stream, row.name)).config
        assert config.ack_policy == api.AckPolicy.EXPLICIT, row.name
        assert config.backoff is None, row.name
        assert config.max_deliver == 1000, row.name


async def test_durable_outside_the_topology_is_refused(open_bus: OpenBus, nats_url: str) -> None:
    consumer = Consumer(await open_bus("learner"), SharedSettings(nats_url=nats_url))
    with pytest.raises(ConfigurationError, match="not in the topology: add a row"):
        consumer.on(LearnFromRuns, handle, durable="own-idea")
    with pytest.raises(ConfigurationError, match=r"is it learner-learn\?"):
        consumer.on(LearnFromRuns, handle, durable="learner_learn")
    with pytest.raises(ConfigurationError, match=r"carries cmd\.learner\.learn to learner"):
        consumer.on(StartEvolution, handle, durable=DURABLE)  # type: ignore[arg-type]
    consumer.on(LearnFromRuns, handle, durable=DURABLE)
    with pytest.raises(ConfigurationError, match="has a handler already"):
        consumer.on(LearnFromRuns, handle, durable=DURABLE)


async def test_consumer_does_not_start_on_a_bus_that_is_not_provisioned(tmp_path: Path) -> None:
    with nats_server(tmp_path) as url:
        bus = await Bus.connect(SharedSettings(nats_url=url), service="learner")
        consumer = Consumer(bus, SharedSettings(nats_url=url))
        consumer.on(LearnFromRuns, handle, durable=DURABLE)
        with pytest.raises(ConfigurationError, match="CMD/learner-learn: run `evoline bus apply`"):
            await consumer.start()
        assert await bus.jetstream.streams_info() == []
        await consumer.stop()
        await bus.close()


async def test_durable_deleted_under_a_consumer_makes_it_not_ready_until_it_is_back(open_bus: OpenBus, nats_url: str) -> None:
    bus = await open_bus("learner")
    async with consuming(bus, nats_url, lambda consumer: consumer.on(LearnFromRuns, handle, durable=DURABLE)) as consumer:
        await consumer.check()
        await bus.jetstream.delete_consumer("CMD", DURABLE)
        with pytest.raises(UnavailableError, match="CMD/learner-learn"):
            await consumer.check()
        await provision(nats_url)
        await consumer.check()


async def test_missing_server_is_named_with_what_to_do() -> None:
    url = f"nats://bob:hunter2@127.0.0.1:{free_port()}"
    with pytest.raises(ConfigurationError, match=r"no NATS server at nats://127\.0\.0\.1") as error:
        await Bus.connect(SharedSettings(nats_url=url), service="learner")
    assert "evoline up" in str(error.value)
    assert "hunter2" not in str(error.value)


async def test_user_with_a_password_publishes_and_consumes_through_inboxes_of_its_own(tmp_path: Path) -> None:
    """The permissions are the least that a pull consumer needs: anything else that the code tried would be refused."""
    port, monitor = free_port(), free_port()
    config = tmp_path / "accounts.conf"
    config.write_text(
        f"""
        host: "127.0.0.1", port: {port}, http: "127.0.0.1:{monitor}"
        jetstream {{ store_dir: "{tmp_path}/jetstream", sync_interval: always }}
        accounts {{ APP {{ jetstream: enabled, users: [
            {{ user: admin, password: admin-pass }},
            {{ user: learner, password: learner-pass, permissions: {{
                publish: ["cmd.learner.learn", "dlq.>", "evt.command.refused",
                    "$JS.API.CONSUMER.INFO.CMD.learner-learn", "$JS.API.CONSUMER.MSG.NEXT.CMD.learner-learn",
                    "$JS.ACK.CMD.learner-learn.>"],
                subscribe: ["_INBOX.learner.>"] }} }} ] }} }}
        """
    )
    with running([program("nats-server"), "-c", str(config)], lambda: _open(port), tmp_path / "nats.log"):
        url = f"nats://127.0.0.1:{port}"
        await provision(SharedSettings(nats_url=url, nats_user="admin", nats_password=SecretStr("admin-pass")))
        settings = SharedSettings(nats_url=url, nats_user="learner", nats_password=SecretStr("learner-pass"))
        bus = await Bus.connect(settings, service="learner")
        seen: list[str] = []

        async def remember(message: LearnFromRuns, delivery: Delivery) -> None:
            seen.append(message.learning_id)

        consumer = Consumer(bus, settings)
        consumer.on(LearnFromRuns, remember, durable=DURABLE)
        await consumer.start()
        await consumer.check()
        await bus.publish(learn("allowed"), cause="test-accounts")
        await eventually(lambda: seen == ["allowed"])
        await consumer.stop()
        await bus.close()
        with pytest.raises(ConfigurationError, match=r"no NATS server.*Authorization"):
            await Bus.connect(
                SharedSettings(nats_url=url, nats_user="learner", nats_password=SecretStr("wrong")), service="learner"
            )


def _open(port: int) -> bool:
    import socket

    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0
