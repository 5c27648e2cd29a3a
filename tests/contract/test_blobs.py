"""One suite on blobs in memory and on the real object store."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator

import pytest

from shared.errors import InvalidInputError, LimitReachedError, NotFoundError
from shared.large_values import INLINE_BYTES, MARK, MAX_VALUE_BYTES, Blobs, DamagedValueError, LargeValues, ValueReference, as_json
from shared.messaging.blobs import ObjectStoreBlobs
from shared.messaging.bus import Bus
from shared.settings import SharedSettings
from tests.fakes.blobs import InMemoryBlobs


@pytest.fixture(params=["memory", "nats"])
def server(request: pytest.FixtureRequest) -> str | None:
    return None if request.param == "memory" else str(request.getfixturevalue("nats_url"))


@pytest.fixture
async def blobs(server: str | None) -> AsyncIterator[Blobs]:
    if server is None:
        yield InMemoryBlobs()
        return
    bus = await Bus.connect(SharedSettings(nats_url=server), service="client")
    yield ObjectStoreBlobs(bus)
    await bus.close()


async def test_what_was_stored_comes_back_however_often_it_was_stored(blobs: Blobs) -> None:
    body = os.urandom(300_000)
    references = await asyncio.gather(blobs.store(body), blobs.store(body), blobs.store(b"other"))
    assert references[0] == references[1] == await blobs.store(body)
    assert [await blobs.load(reference) for reference in references] == [body, body, b"other"]


async def test_a_hash_of_nothing_is_not_found(blobs: Blobs) -> None:
    with pytest.raises(NotFoundError, match="000000000000"):
        await blobs.load(ValueReference(sha256="0" * 64, bytes=3))


async def test_sixty_four_mebibytes_fit_and_a_byte_more_does_not(blobs: Blobs) -> None:
    body = b"x" * MAX_VALUE_BYTES
    assert await blobs.load(await blobs.store(body)) == body
    with pytest.raises(LimitReachedError, match="67,108,865 bytes"):
        await blobs.store(body + b"y")


async def test_members_are_packed_from_the_largest_until_the_rest_is_small(blobs: Blobs) -> None:
    values = LargeValues(blobs)
    value = {"big": "b" * 300_000, "middle": ["m" * 200_000], "small": "s" * 40_000, "word": 1}
    packed = await values.pack(value)
    assert {name for name, member in packed.items() if isinstance(member, dict)} == {"big"}
    assert len(as_json(packed)) <= INLINE_BYTES
    assert await values.unpack(packed) == value


NAMED = ValueReference(sha256="a" * 64, bytes=3).written()
LARGE = {
    "text": "ä" * INLINE_BYTES,
    "list": [1] * INLINE_BYTES,
    "many members": {f"k{n}": "v" * 1000 for n in range(300)},
    "very many small members": {f"k{n}": "v" * 20 for n in range(20_000)},
    "a large one beside many small ones": {"big": "b" * 300_000, **{f"k{n}": "v" * 20 for n in range(20_000)}},
}


@pytest.mark.parametrize("value", LARGE.values(), ids=LARGE)
async def test_any_large_value_is_packed_and_comes_back(blobs: Blobs, value: object) -> None:
    values = LargeValues(blobs)
    packed = await values.pack(value)
    assert len(as_json(packed)) <= INLINE_BYTES
    assert await values.unpack(packed) == value


@pytest.mark.parametrize("value", [None, 1, "x", [], {}, {"a": {"b": 1}}, "x" * (INLINE_BYTES - 2)])
async def test_small_values_stay_as_they_are(blobs: Blobs, value: object) -> None:
    values = LargeValues(blobs)
    assert await values.pack(value) == value
    assert await values.unpack(value) == value


@pytest.mark.parametrize("bad", [None, {}, {"sha256": "x", "bytes": 1}, {"sha256": "0" * 64, "bytes": 10**12}])
async def test_a_reference_that_nobody_wrote_is_refused(blobs: Blobs, bad: object) -> None:
    with pytest.raises(InvalidInputError, match="not a reference to a value"):
        await LargeValues(blobs).unpack({"rows": {MARK: bad}})


@pytest.mark.parametrize("value", [NAMED, {"said": NAMED}, {"said": {MARK: "nonsense"}, "big": "b" * 300_000}])
async def test_data_that_looks_like_a_reference_is_data(blobs: Blobs, value: object) -> None:
    values = LargeValues(blobs)
    assert await values.unpack(await values.pack(value)) == value


@pytest.mark.parametrize("body", [b"[" * 100_000, b"\xff", b"{"])
async def test_a_stored_value_that_is_not_json_is_an_error_of_its_sender(blobs: Blobs, body: bytes) -> None:
    with pytest.raises(InvalidInputError, match="not JSON"):
        await LargeValues(blobs).unpack({"rows": (await blobs.store(body)).written()})


async def test_a_reference_that_says_another_size_is_not_read(blobs: Blobs) -> None:
    reference = await blobs.store(os.urandom(1000))
    with pytest.raises(DamagedValueError, match="damaged"):
        await blobs.load(reference.model_copy(update={"bytes": 999}))


async def test_what_is_not_what_its_hash_names_is_never_given_and_is_stored_anew(nats_url: str) -> None:
    body, other = os.urandom(300_000), os.urandom(300_000)
    bus = await Bus.connect(SharedSettings(nats_url=nats_url), service="client")
    blobs = ObjectStoreBlobs(bus)
    reference = await blobs.store(body)
    await (await bus.jetstream.object_store("values")).put(reference.sha256, other)
    with pytest.raises(DamagedValueError, match=reference.sha256[:12]):
        await blobs.load(reference)
    assert await blobs.store(body) == reference
    assert await blobs.load(reference) == body
    await bus.close()
