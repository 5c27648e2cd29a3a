"""Every database x every user of the store, on a real server that asks who it is: read, write, drop, and ways around."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from pydantic import SecretStr
from pymongo import MongoClient
from pymongo.errors import OperationFailure

from evoline.secret_files import SecretStore
from evoline.stack.store_users import ensure_admin, ensure_users
from shared.errors import ConfigurationError
from shared.storage import connect
from shared.storage.mongo import DeniedError
from shared.storage.roles import ADMIN, USERS, StoreUser
from shared.storage.users import apply_users
from tests.servers import mongo_server, program

DATABASES = tuple(user.writes for user in USERS)
FORBIDDEN = 13
Document = dict[str, Any]
Client = MongoClient[Document]


@dataclass(frozen=True)
class GuardedStore:
    url: str
    secrets: SecretStore

    def client(self, user: str) -> Client:
        password = self.secrets.password(user).get_secret_value()
        return MongoClient(self.url, username=user, password=password, authSource="admin")


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Iterator[GuardedStore]:
    """Its data were there before it had any users, as in a home that an older version made."""
    home = tmp_path_factory.mktemp("store")
    with mongo_server(home) as url, MongoClient[Document](url) as client:
        for name in DATABASES:
            client[name]["things"].insert_one({"_id": "old", "of": name})
    secrets = SecretStore(home / "secrets")
    secrets.create()
    with pytest.MonkeyPatch.context() as patch:
        patch.delenv("EVOLINE_TEST_MONGO_URL", raising=False)
        asyncio.run(ensure_admin(secrets, program("secantusd-py"), home / "store", home / "admin.log"))
        with mongo_server(home, None, "--auth") as guarded:
            assert asyncio.run(ensure_users(secrets, guarded)) == f"{len(USERS)} users"
            yield GuardedStore(guarded, secrets)


@pytest.fixture(params=USERS, ids=lambda user: user.name)
def as_user(store: GuardedStore, request: pytest.FixtureRequest) -> Iterator[tuple[StoreUser, Client]]:
    with store.client(request.param.name) as client:
        yield request.param, client


def forbidden(act: Callable[[], object]) -> bool:
    try:
        act()
    except OperationFailure as error:
        assert error.code == FORBIDDEN, error
        return True
    return False


def reads(client: Client, name: str) -> Mapping[str, Callable[[], object]]:
    things = client[name]["things"]
    return {
        "find": things.find_one,
        "aggregate": lambda: list(things.aggregate([])),
        "count": lambda: things.count_documents({}),
    }


def writes(client: Client, name: str) -> Mapping[str, Callable[[], object]]:
    things = client[name]["things"]
    return {
        "insert": lambda: things.insert_one({}),
        "update": lambda: things.update_many({"_id": "none"}, {"$set": {"x": 1}}),
        "delete": lambda: things.delete_many({"_id": "none"}),
        "index": lambda: things.create_index("x", name="x"),
        "upsert": lambda: things.replace_one({"_id": "new"}, {"x": 2}, upsert=True),
    }


def administration(client: Client, name: str) -> Mapping[str, Callable[[], object]]:
    return {
        "drop collection": client[name]["things"].drop,
        "drop database": lambda: client.drop_database(name),
        "rename away": lambda: client.admin.command("renameCollection", f"{name}.things", to="evoline_executor.taken"),
        "rename into": lambda: client.admin.command("renameCollection", "evoline_executor.things", to=f"{name}.placed"),
        "make a user": lambda: client[name].command("createUser", "evil", pwd="x", roles=["readWrite"]),
    }


@pytest.mark.parametrize("name", DATABASES)
def test_each_user_does_exactly_what_the_table_says(as_user: tuple[StoreUser, Client], name: str) -> None:
    user, client = as_user
    own = name == user.writes
    assert {what: forbidden(act) for what, act in reads(client, name).items()} == dict.fromkeys(
        reads(client, name), not own and name not in user.reads
    )
    assert {what: forbidden(act) for what, act in writes(client, name).items()} == dict.fromkeys(writes(client, name), not own)
    assert all(forbidden(act) for act in administration(client, name).values())


def test_only_the_sealed_user_reaches_sealed_labels_and_the_administrator_reaches_nothing(store: GuardedStore) -> None:
    assert [user.name for user in USERS if "evoline_sealed" in (user.writes, *user.reads)] == ["sealed"]
    with store.client(ADMIN) as client:
        assert all(forbidden(act) for name in DATABASES for act in reads(client, name).values())


def test_results_cannot_be_written_into_anothers_database(store: GuardedStore) -> None:
    with store.client("executor") as client:
        runs = client["evoline_executor"]["things"]
        for stage in ("$out", "$merge"):
            target: Any = {"db": "evoline_guardrail", "coll": "things"}
            assert forbidden(lambda: list(runs.aggregate([{stage: target if stage == "$out" else {"into": target}}])))  # noqa: B023 - called at once
        for act in ({"grantRolesToUser": "executor", "roles": ["root"]}, {"updateUser": "executor", "roles": ["root"]}):
            assert forbidden(lambda: client.admin.command(act))  # noqa: B023 - called at once


def test_data_from_before_there_were_users_are_kept(store: GuardedStore) -> None:
    for user in USERS:
        with store.client(user.name) as client:
            assert client[user.writes]["things"].find_one({"_id": "old"}) == {"_id": "old", "of": user.writes}


async def test_a_denial_names_what_is_denied_and_what_to_do(store: GuardedStore) -> None:
    executor = connect(SecretStr(store.url), user="executor", password=store.secrets.password("executor"))
    wrong = connect(SecretStr(store.url), user="executor", password=store.secrets.password("learner"))
    with pytest.raises(DeniedError, match=r"evoline_sealed.*find.*evoline store apply"):
        await executor.database("evoline_sealed").collection("labels").get("any")
    with pytest.raises(DeniedError, match="authentication failed"):
        await wrong.ping()
    executor.close()
    wrong.close()


async def test_applying_again_changes_passwords_and_needs_the_administrator(store: GuardedStore) -> None:
    passwords = {user.name: store.secrets.password(user.name) for user in USERS}
    admin = store.secrets.password(ADMIN)
    changed = passwords | {"learner": SecretStr("another-one")}
    await apply_users(SecretStr(store.url), changed, user=ADMIN, password=admin)
    before = connect(SecretStr(store.url), user="learner", password=passwords["learner"])
    with pytest.raises(DeniedError):
        await before.ping()
    before.close()
    assert await apply_users(SecretStr(store.url), passwords, user=ADMIN, password=admin) == tuple(passwords)
    with pytest.raises(ConfigurationError, match=r"as learner.*EVOLINE_MONGO_USER"):
        await apply_users(SecretStr(store.url), passwords, user="learner", password=passwords["learner"])


async def test_the_administrator_is_made_once(store: GuardedStore, tmp_path: Path) -> None:
    home = store.secrets.root.parent
    assert await ensure_admin(store.secrets, "/no/such/program", home / "store", tmp_path / "log") == ""
