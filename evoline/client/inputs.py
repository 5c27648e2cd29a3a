"""Inputs that a run needs and its caller does not give."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from evoline.client.api import Client
from shared.events.deployments import GetPipeline
from shared.store_inputs import StoreInputs, Stores, required_inputs


async def inputs_from_stores(
    client: Client, pipeline: str, given: Mapping[str, Any], *, domain: str | None = None, most: int = 5
) -> dict[str, Any]:
    """What `given` leaves out of the pipeline's required inputs, filled from the services' stores.

    Raises InvalidInputError with every name that no store can fill, UnavailableError where a service does not run."""
    document = (await client.ask(GetPipeline(pipeline=pipeline)))["document"]
    missing = [name for name in required_inputs(document) if name not in given]
    return await StoreInputs(Stores(client, domain=domain, most=most)).fill(missing)
