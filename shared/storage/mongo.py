"""`Collection` on MongoDB by motor. Changing the driver is a change of this file only."""

from __future__ import annotations

from collections.abc import Awaitable, Mapping, Sequence
from typing import Any, TypeVar

from motor.motor_asyncio import AsyncIOMotorClient, AsyncIOMotorCollection, AsyncIOMotorDatabase
from pydantic import SecretStr
from pymongo import UpdateOne
from pymongo.errors import (
    BulkWriteError,
    ConnectionFailure,
    DocumentTooLarge,
    DuplicateKeyError,
    ExecutionTimeout,
    OperationFailure,
)
from pymongo.write_concern import WriteConcern

from shared.errors import EvolineError, UnavailableError
from shared.storage.collection import DocumentTooLargeError, DuplicateValueError, Sort

T = TypeVar("T")
Document = dict[str, Any]
DUPLICATE_KEY = 11000
SHUTTING_DOWN = frozenset({91, 189, 11600, 11602, 10107, 13435, 13436})
"""Server codes of an election or a shutdown: the next try may meet a primary."""


class DeniedError(UnavailableError):
    """The store's roles do not let this user do that. It may succeed once they are changed."""

    code = "denied"


DENIED = frozenset({13, 18})
"""Server codes: not authorised, and credentials that are wrong."""


def connect(
    url: SecretStr, *, user: str = "", password: SecretStr | None = None, server_timeout_seconds: float = 5.0
) -> MongoStore:
    """A client that connects at first use. Writes are acknowledged by a majority and journaled."""
    return MongoStore(client_of(url, user=user, password=password, server_timeout_seconds=server_timeout_seconds))


def client_of(
    url: SecretStr, *, user: str = "", password: SecretStr | None = None, server_timeout_seconds: float = 5.0
) -> AsyncIOMotorClient[Document]:
    """`user` empty: whom the address names, or nobody."""
    known: dict[str, Any] = {}
    if user:
        known = {"username": user, "password": password.get_secret_value() if password else "", "authSource": "admin"}
    return AsyncIOMotorClient(
        url.get_secret_value(),
        **known,
        serverSelectionTimeoutMS=int(server_timeout_seconds * 1000),
        connectTimeoutMS=int(server_timeout_seconds * 1000),
        tz_aware=True,
        appname="evoline",
    )


class MongoStore:
    def __init__(self, client: AsyncIOMotorClient[Document]) -> None:
        self._client = client

    def database(self, name: str) -> MongoDatabase:
        return MongoDatabase(self._client.get_database(name, write_concern=WriteConcern(w="majority", j=True)))

    async def ping(self) -> None:
        """Raises `UnavailableError` where no primary answers."""
        await _answer(self._client.admin.command("ping"))

    async def drop_database(self, name: str) -> None:
        await _answer(self._client.drop_database(name))

    def close(self) -> None:
        self._client.close()


class MongoDatabase:
    def __init__(self, database: AsyncIOMotorDatabase[Document]) -> None:
        self._database = database

    def collection(self, name: str) -> MongoCollection:
        return MongoCollection(self._database.get_collection(name))


class MongoCollection:
    def __init__(self, collection: AsyncIOMotorCollection[Document]) -> None:
        self._collection = collection

    async def insert_once(self, document: Mapping[str, Any]) -> bool:
        try:
            await _answer(self._collection.insert_one(dict(document)))
        except DuplicateKeyError as error:
            await self._refuse_other_index(document, error)
            return False
        return True

    async def insert_many(self, documents: Sequence[Mapping[str, Any]]) -> frozenset[str]:
        if len(documents) <= 1:
            # A bulk write of one costs the driver a tenth more.
            return frozenset([each["_id"] for each in documents if not await self.insert_once(each)])
        try:
            await _answer(self._collection.insert_many([dict(document) for document in documents], ordered=False))
        except BulkWriteError as error:
            return await self._already_there(documents, error)
        return frozenset()

    async def insert_in_order(self, documents: Sequence[Mapping[str, Any]]) -> int:
        if len(documents) <= 1:
            return sum([await self.insert_once(each) for each in documents])
        try:
            await _answer(self._collection.insert_many([dict(document) for document in documents], ordered=True))
        except BulkWriteError as error:
            await self._already_there(documents, error)
            return int(error.details["nInserted"])
        return len(documents)

    async def get(self, document_id: str) -> Document | None:
        return await _answer(self._collection.find_one({"_id": document_id}))

    async def find(
        self, filters: Mapping[str, Any], *, sort: Sort = (), limit: int = 0, fields: Sequence[str] = ()
    ) -> list[Document]:
        cursor = self._collection.find(dict(filters), dict.fromkeys(fields, 1) or None, limit=limit, sort=list(sort) or None)
        return await _answer(cursor.to_list(None))

    async def count(self, filters: Mapping[str, Any]) -> int:
        return await _answer(self._collection.count_documents(dict(filters)))

    async def update_if(self, filters: Mapping[str, Any], update: Mapping[str, Any]) -> bool:
        try:
            result = await _answer(self._collection.update_one(dict(filters), dict(update)))
        except DuplicateKeyError as error:
            raise DuplicateValueError(str(error)) from error
        return result.matched_count == 1

    async def update_each(self, changes: Sequence[tuple[Mapping[str, Any], Mapping[str, Any]]]) -> int:
        if not changes:
            return 0
        updates = [UpdateOne(dict(filters), dict(update)) for filters, update in changes]
        try:
            result = await _answer(self._collection.bulk_write(updates, ordered=False))
        except BulkWriteError as error:
            raise _fault_of(error) from error
        return result.matched_count

    async def put(self, document: Mapping[str, Any]) -> None:
        try:
            await _answer(self._collection.replace_one({"_id": document["_id"]}, dict(document), upsert=True))
        except DuplicateKeyError as error:
            raise DuplicateValueError(str(error)) from error

    async def delete(self, filters: Mapping[str, Any]) -> int:
        if not filters:
            raise ValueError("deleting everything is not offered: name what to delete")
        result = await _answer(self._collection.delete_many(dict(filters)))
        return result.deleted_count

    async def ensure_index(self, keys: Sort, *, unique: bool = False, name: str) -> None:
        await _answer(self._collection.create_index(list(keys), unique=unique, name=name))

    async def _refuse_other_index(self, document: Mapping[str, Any], error: DuplicateKeyError) -> None:
        if await self.get(document["_id"]) is None:
            raise DuplicateValueError(str(error)) from error

    async def _already_there(self, documents: Sequence[Mapping[str, Any]], error: BulkWriteError) -> frozenset[str]:
        failures = error.details.get("writeErrors", [])
        if any(failure["code"] != DUPLICATE_KEY for failure in failures) or error.details.get("writeConcernErrors"):
            raise UnavailableError(_reasons(error)) from error
        refused = [documents[failure["index"]] for failure in failures]
        for document in refused:
            await self._refuse_other_index(document, DuplicateKeyError(_reasons(error)))
        return frozenset(document["_id"] for document in refused)


def _fault_of(error: BulkWriteError) -> EvolineError:
    codes = {failure["code"] for failure in error.details.get("writeErrors", [])}
    kind = DuplicateValueError if codes == {DUPLICATE_KEY} else UnavailableError
    return kind(_reasons(error))


def _reasons(error: BulkWriteError) -> str:
    failures = [*error.details.get("writeErrors", []), *error.details.get("writeConcernErrors", [])]
    return "; ".join(str(failure.get("errmsg", failure)) for failure in failures)[:2000]


def _said(error: OperationFailure) -> str:
    return str(error.details.get("errmsg", error)) if error.details else str(error)


async def _answer(answer: Awaitable[T]) -> T:
    """Waits for the driver and translates its errors into the project's."""
    try:
        return await answer
    except DocumentTooLarge as error:
        raise DocumentTooLargeError(str(error)) from error
    except (ConnectionFailure, ExecutionTimeout) as error:
        raise UnavailableError(f"the document store does not answer: {error}") from error
    except (DuplicateKeyError, BulkWriteError):
        raise
    except OperationFailure as error:
        if error.code in SHUTTING_DOWN:
            raise UnavailableError(f"the document store has no primary: {error}") from error
        if error.code in DENIED:
            raise DeniedError(
                f"the document store denies it: {_said(error)}; "
                "rights are made from shared/storage/roles.py by `evoline store apply`"
            ) from error
        raise
