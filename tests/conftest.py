"""Fixtures that every suite may use. Real servers live for the whole test run; tests keep apart by names of their own."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.servers import mongo_server, nats_server


@pytest.fixture(scope="session")
def nats_url() -> Iterator[str]:
    """A real nats-server, provisioned with the project's streams and durable consumers."""
    import asyncio

    from shared.messaging.provisioning import provision

    with nats_server() as url:
        asyncio.run(provision(url))
        yield url


@pytest.fixture(scope="session")
def mongo_url() -> Iterator[str]:
    with mongo_server() as url:
        yield url
