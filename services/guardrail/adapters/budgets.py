"""Budgets in the store: one document a day with all its accounts and open reservations, every change one conditional update.

So a reservation touches all of its accounts or none, and a process that dies leaves it whole or not at all. An account's numbers
stand under its name, a reservation's under the hash of its id: neither may hold a dot, which would be a path.

What was used without a reservation, by runs that nothing bounds, is counted in a document of its own: there may be thousands of
such pipelines, and every reservation rewrites its document."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from services.guardrail.domain.budgets import KINDS, Amounts, Reservation, Shortage, Standing, kind_of, needed, shortages
from services.guardrail.ports import ReservationError
from shared.errors import UnavailableError
from shared.storage.collection import Collection, Database

_TRIES = 200
"""A try is lost only when somebody else reserved or settled in between."""
REMEMBERED = 10_000
"""Settled reservations of a day whose ids are known: none of them is opened again."""
IN_FORCE = "in_force"
"""Executors read the document of this id."""
_ESCAPED = (("%", "%25"), (".", "%2E"), ("$", "%24"))
Limits = Mapping[str, Mapping[str, int]]


class MongoBudgets:
    def __init__(self, database: Database) -> None:
        self._days = database.collection("budget_days")
        self._counts = database.collection("budget_counts")
        self._rules = database.collection("quota_rules")

    async def reserve(self, wanted: Reservation, limits: Limits) -> Shortage | None:
        if hopeless := _shortage(wanted, {}, limits):
            return hopeless
        filters, update = _room(wanted, limits), _taking(wanted)
        for _ in range(_TRIES):
            if await self._days.update_if(filters, update):
                return None
            found = await _opened(self._days, wanted.day)
            if _is_open(wanted, found):
                return None
            if shortage := _shortage(wanted, found, limits):
                return shortage
            # An account that nobody used before has no numbers to compare with.
            zeros = {f"accounts.{_key(account)}.total.{name}": 0 for account in wanted.accounts for name in limits.get(account, {})}
            if zeros:
                await self._days.update_if({"_id": wanted.day}, {"$inc": zeros})
        raise UnavailableError(f"too many reservations of {wanted.day} at this moment")

    async def settle(self, day: str, reservation_id: str, used: Amounts, at: datetime) -> Reservation | None:
        mark, found = _short(reservation_id), await self._days.get(day)
        if found is None or mark not in found["open"]:
            return None
        reservation = _reservation(found["open"][mark])
        unused = used.minus(reservation.amounts).counts()
        change: dict[str, int] = {}
        for account in map(_key, reservation.accounts):
            change |= {f"accounts.{account}.total.{name}": amount for name, amount in unused.items()}
            change |= {f"accounts.{account}.used.{name}": amount for name, amount in used.counts().items()}
        update: dict[str, Any] = {"$unset": {f"open.{mark}": ""}, "$set": {f"done.{mark}": at.timestamp()}}
        if change:
            update["$inc"] = change
        is_first = await self._days.update_if({"_id": day, f"open.{mark}": {"$exists": True}}, update)
        return reservation if is_first else None

    async def count(self, report_id: str, day: str, used: Mapping[str, Amounts], at: datetime) -> bool:
        mark = _short(report_id)
        change: dict[str, int] = {}
        for account, amounts in used.items():
            for name, amount in amounts.counts().items():
                change |= {f"accounts.{_key(account)}.{kind}.{name}": amount for kind in ("total", "used")}
        await _opened(self._counts, day)
        update: dict[str, Any] = {"$set": {f"done.{mark}": at.timestamp()}}
        if change:
            update["$inc"] = change
        return await self._counts.update_if({"_id": day, f"done.{mark}": {"$exists": False}}, update)

    async def standings(self, day: str, accounts: Sequence[str] | None = None) -> list[Standing]:
        found = [each for each in (await self._days.get(day), await self._counts.get(day)) if each]
        if accounts is None:
            accounts = sorted({_name(key) for each in found for key in each["accounts"]})
        return [_sum_of([_standing(account, each) for each in found], account) for account in accounts]

    async def reservations(self, since: str) -> list[Reservation]:
        found = await self._days.find({"_id": {"$gte": since}}, fields=["open"])
        every = [_reservation(each) for document in found for each in document["open"].values()]
        return sorted(every, key=lambda each: (each.opened_at, each.reservation_id))

    async def announce(self, revision: str, bounds: Sequence[Mapping[str, Any]]) -> bool:
        wanted = {"_id": IN_FORCE, "revision": revision, "bounds": [dict(each) for each in bounds]}
        # A newer version of the guardrail may say the same policy in other words.
        if await self._rules.get(IN_FORCE) == wanted:
            return False
        await self._rules.put(wanted)
        return True

    async def forget(self, day: str) -> None:
        for collection in (self._days, self._counts):
            found = await collection.find({"_id": day}, fields=["done"])
            done = sorted(found[0]["done"], key=found[0]["done"].__getitem__) if found else []
            if extra := done[: max(0, len(done) - REMEMBERED)]:
                await collection.update_if({"_id": day}, {"$unset": {f"done.{mark}": "" for mark in extra}})


async def _opened(collection: Collection, day: str) -> dict[str, Any]:
    for _ in range(2):
        if found := await collection.get(day):
            return found
        await collection.insert_once({"_id": day, "accounts": {}, "open": {}, "done": {}})
    raise UnavailableError(f"the budgets of {day} cannot be read back")


def _sum_of(standings: Sequence[Standing], account: str) -> Standing:
    total, used = Amounts(), Amounts()
    for each in standings:
        total, used = total.plus(each.total), used.plus(each.used)
    return Standing(account, total, used)


def _room(wanted: Reservation, limits: Limits) -> dict[str, Any]:
    mark = _short(wanted.reservation_id)
    filters: dict[str, Any] = {"_id": wanted.day, f"open.{mark}": {"$exists": False}, f"done.{mark}": {"$exists": False}}
    for account in wanted.accounts:
        for name, most in limits.get(account, {}).items():
            filters[f"accounts.{_key(account)}.total.{name}"] = {"$lte": most - needed(wanted.amounts, name)}
    return filters


def _taking(wanted: Reservation) -> dict[str, Any]:
    counts = wanted.amounts.counts()
    change = {f"accounts.{_key(account)}.total.{name}": amount for account in wanted.accounts for name, amount in counts.items()}
    update: dict[str, Any] = {"$set": {f"open.{_short(wanted.reservation_id)}": wanted.model_dump(mode="json")}}
    return {**update, "$inc": change} if change else update


def _is_open(wanted: Reservation, found: Mapping[str, Any]) -> bool:
    """Raises `ReservationError` where the id is that of another reservation, or of one that was settled."""
    mark = _short(wanted.reservation_id)
    if mark in found["done"]:
        raise ReservationError(f"reservation {wanted.reservation_id} was settled before; choose another id")
    if mark not in found["open"]:
        return False
    held = _reservation(found["open"][mark])
    if (held.amounts, held.accounts) != (wanted.amounts, wanted.accounts):
        raise ReservationError(f"reservation {wanted.reservation_id} was made for another wish; choose another id")
    return True


def _shortage(wanted: Reservation, found: Mapping[str, Any], limits: Limits) -> Shortage | None:
    """Of the widest account."""
    for account in sorted(wanted.accounts, key=lambda each: KINDS.index(kind_of(each))):
        for shortage in shortages(wanted.amounts, _standing(account, found), limits.get(account, {})):
            return shortage
    return None


def _standing(account: str, found: Mapping[str, Any]) -> Standing:
    numbers = found.get("accounts", {}).get(_key(account), {})
    return Standing(account, Amounts.of_counts(numbers.get("total", {})), Amounts.of_counts(numbers.get("used", {})))


def _reservation(stored: Mapping[str, Any]) -> Reservation:
    return Reservation.model_validate(stored)


def _short(reservation_id: str) -> str:
    return hashlib.sha256(reservation_id.encode()).hexdigest()[:32]


def _key(account: str) -> str:
    for character, escaped in _ESCAPED:
        account = account.replace(character, escaped)
    return account


def _name(key: str) -> str:
    for character, escaped in reversed(_ESCAPED):
        key = key.replace(escaped, character)
    return key
