"""A database of each kind: whatever holds on the fake has to hold on the real store."""

from __future__ import annotations

import uuid
from collections.abc import AsyncIterator

import pytest
from pydantic import SecretStr

from shared.storage import Database, connect
from shared.storage.grouped import GroupedDatabase
from tests.fakes.storage import InMemoryDatabase


@pytest.fixture(params=["memory", "mongo", "grouped"])
async def database(request: pytest.FixtureRequest) -> AsyncIterator[Database]:
    """An empty one, gone after the test."""
    if request.param == "memory":
        yield InMemoryDatabase()
        return
    store = connect(SecretStr(request.getfixturevalue("mongo_url")))
    name = f"test_{uuid.uuid4().hex[:12]}"
    real = store.database(name)
    yield GroupedDatabase(real) if request.param == "grouped" else real
    await store.drop_database(name)
    store.close()
