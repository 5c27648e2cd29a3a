"""Documents in MongoDB behind small Protocols; the only place of the project that imports a driver."""

from __future__ import annotations

from shared.storage.collection import Collection, Database, DocumentTooLargeError, DuplicateValueError
from shared.storage.mongo import MongoStore, connect

__all__ = ["Collection", "Database", "DocumentTooLargeError", "DuplicateValueError", "MongoStore", "connect"]
