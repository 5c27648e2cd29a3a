"""Client library: `async with connected() as client: await client.run("support_triage", {"ticket": "..."})`."""

from evoline.client.api import Client
from evoline.client.connection import connected, find_bus
from evoline.client.datasets import read_cases
from evoline.client.talk import OnFact

__all__ = ["Client", "OnFact", "connected", "find_bus", "read_cases"]
