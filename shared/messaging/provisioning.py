"""Creates or updates every stream, bucket and durable consumer of the topology; running it again changes nothing."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass

import nats.js.errors
from nats.aio.client import Client
from nats.js import JetStreamContext, api

from shared.errors import ConfigurationError
from shared.messaging.blobs import BUCKET as VALUES
from shared.messaging.blobs import bucket_config as values_config
from shared.messaging.connection import PUBLISH_SECONDS, close_client, open_client
from shared.messaging.states import BUCKET, bucket_config
from shared.messaging.topology import DUPLICATE_WINDOW, STREAMS, Durable, Stream, durables
from shared.settings import SharedSettings

STREAM_NAME_IN_USE = 10058
MAX_DELAYED = 20_000
"""Messages of one durable that may be unacknowledged at once: those being handled and those waiting for their next try."""


@dataclass(frozen=True)
class Provisioned:
    streams: tuple[str, ...]
    durables: tuple[str, ...]
    unknown: tuple[str, ...]
    """Durables that exist in a stream of ours and are not in the topology, as `STREAM/name`; left alone."""


async def provision(target: str | SharedSettings | Client, *, replicas: int = 1) -> Provisioned:
    """Raises ConfigurationError where the server has no JetStream or refuses an item, naming it."""
    if isinstance(target, Client):
        return await _apply(target, replicas)
    settings = SharedSettings(nats_url=target) if isinstance(target, str) else target
    client = await open_client(settings, name="provision")
    try:
        return await _apply(client, replicas)
    finally:
        await close_client(client)


async def _apply(client: Client, replicas: int) -> Provisioned:
    jetstream = client.jetstream(timeout=PUBLISH_SECONDS)
    wanted = durables()
    for stream in STREAMS:
        await _apply_stream(jetstream, stream, replicas)
    await _apply_bucket(jetstream, replicas)
    await _apply_object_store(jetstream, replicas)
    for durable in wanted:
        await _apply_durable(jetstream, durable)
    return Provisioned(
        streams=tuple(stream.name for stream in STREAMS),
        durables=tuple(durable.name for durable in wanted),
        unknown=await _unknown(jetstream, wanted),
    )


def stream_config(stream: Stream, replicas: int) -> api.StreamConfig:
    return api.StreamConfig(
        name=stream.name,
        description=stream.purpose,
        subjects=list(stream.subjects) or None,
        mirror=api.StreamSource(name=stream.copies) if stream.copies else None,
        retention=api.RetentionPolicy.WORK_QUEUE if stream.retention == "workqueue" else api.RetentionPolicy.LIMITS,
        max_age=stream.max_age.total_seconds() if stream.max_age else 0,
        max_msg_size=stream.max_message_bytes,
        duplicate_window=0 if stream.copies else DUPLICATE_WINDOW.total_seconds(),
        storage=api.StorageType.FILE,
        num_replicas=replicas,
        allow_direct=True,
        allow_msg_schedules=stream.schedules or None,
    )


def consumer_config(durable: Durable) -> api.ConsumerConfig:
    """No `backoff`: the server applies it to time-outs only, and it would override `ack_wait`."""
    return api.ConsumerConfig(
        name=durable.name,
        durable_name=durable.name,
        description=f"{durable.service} consumes {durable.filter_subject}",
        filter_subject=durable.filter_subject,
        deliver_policy=api.DeliverPolicy.ALL,
        ack_policy=api.AckPolicy.EXPLICIT,
        ack_wait=durable.ack_wait_seconds,
        max_deliver=durable.max_deliver,
        max_ack_pending=MAX_DELAYED,
    )


async def _apply_stream(jetstream: JetStreamContext, stream: Stream, replicas: int) -> None:
    config = stream_config(stream, replicas)
    try:
        try:
            await jetstream.add_stream(config)
        except nats.js.errors.BadRequestError as error:
            if error.err_code != STREAM_NAME_IN_USE:
                raise
            await jetstream.update_stream(config)
    except (nats.js.errors.Error, nats.errors.Error, TimeoutError) as error:
        raise ConfigurationError(
            f"stream {stream.name} cannot be set up: {error}; the server needs JetStream with file storage and room on its disk"
        ) from error


async def _apply_bucket(jetstream: JetStreamContext, replicas: int) -> None:
    """Its stream is known once it was made; what an operator changed of it stays, but for the copies."""
    try:
        try:
            await jetstream.create_key_value(bucket_config(replicas))
        except nats.js.errors.BadRequestError as error:
            if error.err_code != STREAM_NAME_IN_USE:
                raise
            present = (await jetstream.stream_info(f"KV_{BUCKET}")).config
            await jetstream.update_stream(present.evolve(num_replicas=replicas, allow_direct=False))
    except (nats.js.errors.Error, nats.errors.Error, TimeoutError) as error:
        raise ConfigurationError(f"bucket {BUCKET} cannot be set up: {error}") from error


async def _apply_object_store(jetstream: JetStreamContext, replicas: int) -> None:
    """What an operator changed of it stays, but for the copies."""
    try:
        try:
            present = (await jetstream.stream_info(f"OBJ_{VALUES}")).config
            await jetstream.update_stream(present.evolve(num_replicas=replicas))
        except nats.js.errors.NotFoundError:
            await jetstream.create_object_store(VALUES, config=values_config(replicas))
    except (nats.js.errors.Error, nats.errors.Error, TimeoutError) as error:
        raise ConfigurationError(f"object store {VALUES} cannot be set up: {error}") from error


async def _apply_durable(jetstream: JetStreamContext, durable: Durable) -> None:
    try:
        await jetstream.add_consumer(durable.stream, consumer_config(durable))
    except (nats.js.errors.Error, nats.errors.Error, TimeoutError) as error:
        raise ConfigurationError(f"durable {durable.stream}/{durable.name} cannot be set up: {error}") from error


async def _unknown(jetstream: JetStreamContext, wanted: tuple[Durable, ...]) -> tuple[str, ...]:
    known = {(durable.stream, durable.name) for durable in wanted}
    names = ("CMD", "EVT")
    listed = await asyncio.gather(*(jetstream.consumers_info(name) for name in names))
    return tuple(
        f"{stream}/{info.name}"
        for stream, infos in zip(names, listed, strict=True)
        for info in infos
        if info.config.durable_name and (stream, info.name) not in known
    )
