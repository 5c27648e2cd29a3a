"""A real broker that asks everybody who they are: users, keys and permissions as a deployment generates them."""

from __future__ import annotations

import contextlib
import os
import signal
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from evoline.secret_files import SecretStore
from shared.messaging.permissions import ADMIN
from shared.messaging.provisioning import provision
from shared.settings import SharedSettings
from tests.servers import nats_server


@dataclass(frozen=True)
class GuardedBroker:
    url: str
    secrets: SecretStore
    pid_file: Path

    def read_users_again(self) -> None:
        os.kill(int(self.pid_file.read_text()), signal.SIGHUP)

    def settings(self, role: str, *, key_of: str = "") -> SharedSettings:
        """Those of a process of this role; `key_of` names another role whose key it was given."""
        return SharedSettings(nats_url=self.url, nats_user=key_of or role, nats_seed_file=self.secrets.seed_file(key_of or role))


@contextlib.contextmanager
def guarded_broker(directory: Path) -> Iterator[GuardedBroker]:
    secrets = SecretStore(directory / "secrets")
    secrets.create()
    pid_file = directory / "nats.pid"
    with nats_server(directory, extra=f'pid_file: "{pid_file}"\ninclude "secrets/nats/users.conf"\n') as url:
        yield GuardedBroker(url, secrets, pid_file)


async def provision_as_admin(broker: GuardedBroker) -> None:
    await provision(broker.settings(ADMIN))
