"""Answers, conversations, requests to stop and the use of scopes in `evoline_executor`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from pydantic import TypeAdapter

from services.executor.domain.records import RunRecord
from services.executor.domain.spending import SealedUse
from services.executor.ports import Stage, Stop
from shared.clock import Clock
from shared.errors import FencedError, LimitReachedError, UnavailableError
from shared.events.values import Budget, Usage
from shared.pipeline.completion import ChatMessage, Completion
from shared.pipeline.step import Session
from shared.storage import Database

_MESSAGES = TypeAdapter(tuple[ChatMessage, ...])


class MongoAnswerCache:
    """First complete answer to a canonical request; later ones do not replace it."""

    def __init__(self, database: Database, clock: Clock) -> None:
        self._answers = database.collection("answers")
        self._clock = clock

    async def get(self, key: str) -> Completion | None:
        document = await self._answers.get(key)
        return Completion.model_validate_json(document["completion"]) if document else None

    async def put(self, key: str, completion: Completion) -> None:
        await self._answers.insert_once(
            {"_id": key, "model": completion.model, "completion": completion.model_dump_json(), "created_at": self._clock.now()}
        )


class MongoConversations:
    def __init__(self, database: Database, clock: Clock) -> None:
        self._sessions = database.collection("sessions")
        self._clock = clock

    async def load(self, name: str) -> Session:
        document = await self._sessions.get(name)
        if document is None:
            return Session(name=name)
        return Session(
            name=name,
            summary=document["summary"],
            messages=_MESSAGES.validate_json(document["messages"]),
            version=document["version"],
            last_exchange=document["last_exchange"],
        )

    async def save(self, session: Session) -> Session:
        saved = session.model_copy(update={"version": session.version + 1})
        fields: dict[str, Any] = {
            "summary": session.summary,
            "messages": _MESSAGES.dump_json(session.messages).decode(),
            "version": saved.version,
            "last_exchange": session.last_exchange,
            "updated_at": self._clock.now(),
        }
        if session.version == 0:
            won = await self._sessions.insert_once({"_id": session.name, **fields})
        else:
            won = await self._sessions.update_if({"_id": session.name, "version": session.version}, {"$set": fields})
        if not won:
            raise FencedError(f"conversation {session.name!r} was continued by another writer")
        return saved


class MongoStops:
    """A cancellation is for a run until it ends, a pause for as long as it stays where it is: the ids say so."""

    def __init__(self, database: Database, clock: Clock) -> None:
        self._stops = database.collection("stops")
        self._received = database.collection("controls_received")
        self._clock = clock

    async def meant(self, command_id: str, stage: Stage) -> Stage:
        fields = {"generation": stage.generation, "retries": stage.retries}
        if await self._received.insert_once({"_id": command_id, **fields, "at": self._clock.now()}):
            return stage
        known = await self._received.get(command_id)
        if known is None:
            raise UnavailableError(f"what was received as {command_id} is gone")
        return Stage(known["generation"], known["retries"])

    async def request(self, run_id: str, stop: Stop, stage: Stage) -> None:
        stop_id = _cancel_id(run_id, stage.retries) if stop.verb == "cancel" else _pause_id(run_id, stage.generation)
        fields = {"run_id": run_id, "verb": stop.verb, "author": stop.author, "reason": stop.reason}
        await self._stops.insert_once({"_id": stop_id, **fields, "at": self._clock.now()})

    async def among(self, runs: Sequence[RunRecord]) -> dict[str, Stop]:
        cancels = [_cancel_id(run.run_id, run.retries) for run in runs]
        pauses = [_pause_id(run.run_id, run.generation) for run in runs]
        found = await self._stops.find({"_id": {"$in": [*cancels, *pauses]}})
        stops = {each["_id"]: Stop(each["verb"], each["author"], each["reason"]) for each in found}
        wanted = zip(runs, cancels, pauses, strict=True)
        return {run.run_id: stop for run, cancel, pause in wanted if (stop := stops.get(cancel) or stops.get(pause))}


def _cancel_id(run_id: str, retries: int) -> str:
    return f"{run_id}/cancel/{retries}"


def _pause_id(run_id: str, generation: int) -> str:
    return f"{run_id}/pause/{generation}"


_UNUSED = {"runs": 0, "calls": 0, "tokens": 0, "cost_usd": 0.0}


class MongoScopeLedger:
    """One document a scope. A reservation is one conditional increment: it happens whole or not at all."""

    def __init__(self, database: Database, clock: Clock) -> None:
        self._usage = database.collection("scope_usage")
        self._clock = clock

    async def reserve(self, scope_id: str, budget: Budget, wanted: Budget) -> None:
        room: dict[str, Any] = {"_id": scope_id, "sealed_at": {"$exists": False}}
        for name in ("runs", "calls", "tokens"):
            if amount := getattr(wanted, name):
                room[name] = {"$lte": getattr(budget, name) - amount}
        if wanted.calls:
            room["cost_usd"] = {"$lt": budget.cost_usd} if budget.cost_usd > 0 else {"$lte": 0.0}
        in_flight = {"open_calls": wanted.calls, "open_tokens": wanted.tokens} if wanted.calls else {}
        change = {"$inc": {"runs": wanted.runs, "calls": wanted.calls, "tokens": wanted.tokens, **in_flight}}
        if await self._usage.update_if(room, change):
            return
        if await self._usage.insert_once({"_id": scope_id, **_UNUSED}) and await self._usage.update_if(room, change):
            return
        # Another reserver may have created the document between the first try and the insert.
        if not await self._usage.update_if(room, change):
            raise await self._used_up(scope_id, budget, wanted)

    async def settle(self, scope_id: str, reserved: Budget, used: Usage) -> None:
        tokens = used.input_tokens + used.output_tokens - reserved.tokens
        in_flight = {"open_calls": -reserved.calls, "open_tokens": -reserved.tokens}
        change = {"calls": used.calls - reserved.calls, "tokens": tokens, "cost_usd": used.cost_usd, **in_flight}
        await self._usage.update_if({"_id": scope_id}, {"$inc": change})

    async def release_run(self, scope_id: str) -> None:
        await self._usage.update_if({"_id": scope_id}, {"$inc": {"runs": -1}})

    async def seal(self, scope_id: str) -> SealedUse:
        sealing: dict[str, Any] = {"$set": {"sealed_at": self._clock.now()}}
        if not await self._usage.update_if({"_id": scope_id, "sealed_at": {"$exists": False}}, sealing):
            # Never used, or sealed before; between both somebody may begin to use it.
            await self._usage.insert_once({"_id": scope_id, **_UNUSED, **sealing["$set"]})
            await self._usage.update_if({"_id": scope_id, "sealed_at": {"$exists": False}}, sealing)
        found = await self._usage.get(scope_id)
        if found is None:
            raise UnavailableError(f"the use of scope {scope_id} cannot be read back")
        return SealedUse(
            runs=found["runs"],
            calls=found["calls"],
            tokens=found["tokens"],
            cost_usd=found["cost_usd"],
            open_calls=found.get("open_calls", 0),
            open_tokens=found.get("open_tokens", 0),
        )

    async def _used_up(self, scope_id: str, budget: Budget, wanted: Budget) -> LimitReachedError:
        used = await self._usage.get(scope_id) or {}
        if "sealed_at" in used:
            return LimitReachedError("scope", f"scope {scope_id} was closed: nothing runs under it any more; ask for a new one")
        for name in ("runs", "calls", "tokens"):
            amount, bound = getattr(wanted, name), getattr(budget, name)
            if amount and used.get(name, 0) + amount > bound:
                return LimitReachedError(
                    name, f"scope {scope_id} allows {bound} {name}; {used.get(name, 0)} are used, {amount} wanted"
                )
        return LimitReachedError("cost_usd", f"scope {scope_id} allows ${budget.cost_usd:g}; ${used.get('cost_usd', 0):g} is used")
