"""Who may do what in the document store: one user a service with its own database, and what it must read of others.

Rights are given by database, because that is what every server enforces. A writer gets the actions listed here and not the
built-in `readWrite`: that lets a collection be dropped, and renamed into another database on servers that check only the source."""

from __future__ import annotations

from dataclasses import dataclass

WRITE_ACTIONS = (
    "find",
    "insert",
    "update",
    "remove",
    "createCollection",
    "createIndex",
    "listCollections",
    "listIndexes",
    "collStats",
    "changeStream",
)
ADMIN = "admin"
"""Makes users and roles, and reads or writes nothing."""
ADMIN_ROLE = "userAdminAnyDatabase"
SEALED = "sealed"
"""A second user of the guardrail's: the labels of sealed cases are behind another password than everything else."""


@dataclass(frozen=True)
class StoreUser:
    name: str
    writes: str
    """The one database that it may write, and read."""
    reads: tuple[str, ...] = ()


USERS: tuple[StoreUser, ...] = (
    StoreUser("generator", "evoline_generator"),
    StoreUser("executor", "evoline_executor", reads=("evoline_guardrail",)),
    StoreUser("analytics", "evoline_analytics"),
    StoreUser("learner", "evoline_learner"),
    StoreUser("evolution", "evoline_evolution"),
    StoreUser("guardrail", "evoline_guardrail"),
    StoreUser(SEALED, "evoline_sealed"),
)
"""The executor reads revisions, quarantine and deployments at every start of a run."""


def writer_role(database: str) -> str:
    return f"{database}_writer"
