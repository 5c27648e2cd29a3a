"""What only the real store can show: a server that is away, and its own bounds."""

from __future__ import annotations

import time
from pathlib import Path

import pytest
from pydantic import SecretStr

from shared.errors import UnavailableError
from shared.storage import DocumentTooLargeError, connect
from tests.servers import free_port, mongo_server


async def test_a_store_that_does_not_answer_is_unavailable_within_its_timeout() -> None:
    store = connect(SecretStr(f"mongodb://127.0.0.1:{free_port()}/?retryWrites=false"), server_timeout_seconds=0.3)
    started = time.monotonic()
    with pytest.raises(UnavailableError):
        await store.ping()
    with pytest.raises(UnavailableError):
        await store.database("evoline_test").collection("items").insert_once({"_id": "a"})
    assert time.monotonic() - started < 3
    store.close()


async def test_a_document_above_the_stores_bound_is_a_permanent_error(mongo_url: str) -> None:
    store = connect(SecretStr(mongo_url))
    items = store.database("test_large").collection("items")
    with pytest.raises(DocumentTooLargeError):
        await items.insert_once({"_id": "large", "text": "x" * (17 * 1024 * 1024)})
    assert await items.get("large") is None
    await store.drop_database("test_large")
    store.close()


async def test_documents_survive_a_restart_of_the_store(tmp_path: Path) -> None:
    port = free_port()
    for expected in (True, False):
        with mongo_server(tmp_path, port) as url:
            store = connect(SecretStr(url))
            await store.ping()
            assert await store.database("test_restart").collection("items").insert_once({"_id": "kept"}) is expected
            store.close()
