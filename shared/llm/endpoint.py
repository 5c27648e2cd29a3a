"""Where an adapter sends its calls, and who answers there."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from pydantic import SecretStr

LOCAL_KEY = "local"
"""The SDKs insist on a key; the local model server looks at none."""
LOCAL_MODEL = "local"
"""What the local model server answers to, whichever file it serves."""
SERVED_BY_HEADER = "x-served-by"
LOCAL_SERVER_NAME = "evoline-model-server"
"""Value of the header with which the local model server says that the answer is its own."""


@dataclass(frozen=True)
class Endpoint:
    """`base_url` empty: the SDK's own address. `api_key` empty: the endpoint is a local model, whatever a step asks for."""

    default_model: str
    api_key: SecretStr = field(default_factory=lambda: SecretStr(""))
    base_url: str = ""

    @property
    def is_local(self) -> bool:
        return not self.api_key.get_secret_value()

    @property
    def is_own_server(self) -> bool:
        """Our local model server, not a keyless endpoint of the user's."""
        return self.is_local and self.default_model == LOCAL_MODEL

    @property
    def key(self) -> str:
        return self.api_key.get_secret_value() or LOCAL_KEY

    def model_for(self, wanted: str | None) -> str:
        """A local server has one model: pipelines that name a provider's model run on it, and the answer says so."""
        return self.default_model if self.is_local else wanted or self.default_model

    def provider_of(self, headers: Mapping[str, str], remote: str) -> str:
        served_locally = any(name.lower() == SERVED_BY_HEADER and value == LOCAL_SERVER_NAME for name, value in headers.items())
        return "local" if served_locally or self.is_local else remote
