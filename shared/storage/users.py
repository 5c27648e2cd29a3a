"""Makes the users of `roles` on a server, or brings them to what the table says; running it again changes nothing."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from motor.motor_asyncio import AsyncIOMotorDatabase
from pydantic import SecretStr
from pymongo.errors import ConnectionFailure, OperationFailure

from shared.errors import ConfigurationError, UnavailableError
from shared.storage.mongo import client_of
from shared.storage.roles import ADMIN, ADMIN_ROLE, USERS, WRITE_ACTIONS, StoreUser, writer_role

_Admin = AsyncIOMotorDatabase[dict[str, Any]]


async def apply_users(
    url: SecretStr, passwords: Mapping[str, SecretStr], *, user: str = "", password: SecretStr | None = None
) -> tuple[str, ...]:
    """Names of the users that are as they should be now. `passwords` has one for each user of the table.

    Raises ConfigurationError where this user may not make others, UnavailableError where no server answers."""
    client = client_of(url, user=user, password=password)
    try:
        admin = client.get_database("admin")
        for each in USERS:
            await _apply_role(admin, each)
            await _apply_user(admin, each.name, passwords[each.name], _roles_of(each))
    except OperationFailure as error:
        raise ConfigurationError(
            f"the store's users cannot be set up as {user or 'nobody'}: {error.details.get('errmsg') if error.details else error}; "
            f"give a user with the role {ADMIN_ROLE} in EVOLINE_MONGO_USER and EVOLINE_MONGO_PASSWORD_FILE"
        ) from error
    except ConnectionFailure as error:
        raise UnavailableError(f"the document store does not answer: {error}") from error
    finally:
        client.close()
    return tuple(each.name for each in USERS)


async def apply_admin(url: SecretStr, password: SecretStr) -> None:
    """The first user, on a server that asks nobody yet."""
    client = client_of(url)
    try:
        await _apply_user(client.get_database("admin"), ADMIN, password, [{"role": ADMIN_ROLE, "db": "admin"}])
    except (OperationFailure, ConnectionFailure) as error:
        raise UnavailableError(f"the store's first user cannot be made: {error}") from error
    finally:
        client.close()


def _roles_of(user: StoreUser) -> list[dict[str, str]]:
    return [{"role": writer_role(user.writes), "db": "admin"}, *({"role": "read", "db": name} for name in user.reads)]


async def _apply_role(admin: _Admin, user: StoreUser) -> None:
    name = writer_role(user.writes)
    privileges = [{"resource": {"db": user.writes, "collection": ""}, "actions": list(WRITE_ACTIONS)}]
    known = (await admin.command("rolesInfo", name))["roles"]
    await admin.command("updateRole" if known else "createRole", name, privileges=privileges, roles=[])


async def _apply_user(admin: _Admin, name: str, password: SecretStr, roles: list[dict[str, str]]) -> None:
    known = (await admin.command("usersInfo", name))["users"]
    await admin.command("updateUser" if known else "createUser", name, pwd=password.get_secret_value(), roles=roles)
