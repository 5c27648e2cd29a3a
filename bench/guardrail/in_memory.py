"""`python -m bench.guardrail.in_memory`: the guardrail as it ships, but for a store that answers from its own memory.

Only for measuring what the guardrail itself costs: nothing is kept, and nothing but this process sees it."""

from __future__ import annotations

from services.guardrail.app import create_app
from shared.service import main
from shared.storage.mongo import MongoStore
from tests.fakes.storage import InMemoryDatabase


def answer_from_memory() -> None:
    """Every database of this process, from now on."""
    databases: dict[str, InMemoryDatabase] = {}

    def database(_: MongoStore, name: str) -> InMemoryDatabase:
        return databases.setdefault(name, InMemoryDatabase())

    setattr(MongoStore, "database", database)  # noqa: B010  an assignment would promise the same type


if __name__ == "__main__":
    answer_from_memory()
    main(create_app)
