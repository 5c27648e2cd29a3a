"""Where the bus is: named in the environment, else the local stack's."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path

from evoline.client.api import Client
from evoline.identities import signer_for
from evoline.stack.home import find_home
from evoline.stack.state import read_state
from shared.errors import ConfigurationError, UnavailableError
from shared.identity import signer_of_file
from shared.messaging.bus import Bus
from shared.messaging.permissions import CLIENT
from shared.settings import SharedSettings

BUS_VARIABLE = "EVOLINE_NATS_URL"


def find_bus(environment: Mapping[str, str], directory: Path, role: str = CLIENT) -> SharedSettings:
    """`EVOLINE_NATS_URL` (with `_USER` and `_SEED_FILE` or `_PASSWORD`), else the running stack of `find_home`, as `role`.

    Raises UnavailableError."""
    if environment.get(BUS_VARIABLE):
        return SharedSettings()
    home = find_home(environment, directory)
    record = read_state(home.state_file)
    if record.alive and "nats" in record.urls:
        return SharedSettings(nats_url=record.urls["nats"], nats_user=role, nats_seed_file=home.secrets.seed_file(role))
    raise UnavailableError(f"no stack runs in {home.root}: start it with `evoline up`, or name a broker in {BUS_VARIABLE}")


@asynccontextmanager
async def connected(
    *, author: str = "anonymous", settings: SharedSettings | None = None, must_sign: bool = False, role: str = CLIENT
) -> AsyncIterator[Client]:
    """A client of the given or the found bus that signs as `author` where this machine has the key.

    Raises UnavailableError where no broker answers, ConfigurationError where it must sign and cannot."""
    if settings is None:
        signer = signer_for(author, os.environ, Path.cwd(), must=must_sign)
        settings = find_bus(os.environ, Path.cwd(), role).model_copy(update={"identity_key_file": None})
    else:
        signer = signer_of_file(settings.identity_key_file) if settings.identity_key_file else None
    try:
        bus = await Bus.connect(settings, service="cli")
    except ConfigurationError as error:
        raise UnavailableError(str(error)) from error
    try:
        yield Client(bus.signed_by(signer), author=author)
    finally:
        await bus.close()
