"""Promotions by hand: a revision is put before the sealed gate, and what came of it is told."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from evoline.client.api import Client
from evoline.client.proposals import Verdict, propose
from evoline.client.talk import OnFact, ignore
from shared.errors import InvalidInputError, NotFoundError, Problem
from shared.events.changes import GetChange, ProposeChange
from shared.events.deployments import GetPipeline
from shared.events.message import derive_id
from shared.events.rollouts import RolloutPlan
from shared.pipeline.document import Document
from shared.pipeline.loading import load_document

GATE_SECONDS = 1800.0
MOST_ATTEMPTS = 100
"""Of one wish that is vetoed each time before it is measured."""


@dataclass(frozen=True)
class Promotion:
    """What is wanted. The same wish, while the same revision serves, is the same change."""

    pipeline: str
    document: Document
    dataset_id: str
    incumbent: str
    """Digest of the revision that serves."""
    rollout: RolloutPlan | None = None
    reason: str = ""

    def command(self, author: str, change_id: str = "", *, attempt: int = 0) -> ProposeChange:
        """`attempt`: how often the same wish was vetoed before anything was measured."""
        plan = self.rollout.model_dump_json() if self.rollout else ""
        again = (str(attempt),) if attempt else ()
        wish = "|".join((self.pipeline, self.document.digest, self.dataset_id, self.incumbent, plan, author, *again))
        return ProposeChange(
            change_id=change_id or f"promotion-{derive_id(wish, 'promotion')[:16]}",
            kind="promotion",
            pipeline=self.pipeline,
            document=self.document.canonical(),
            domain=self.document.domain,
            author=author,
            reason=self.reason or f"promotion of {self.document.digest[:12]}, proposed by hand",
            dataset_id=self.dataset_id,
            parent_digest=self.incumbent,
            rollout=self.rollout,
        )


@dataclass(frozen=True)
class Promoted:
    verdict: Verdict
    change: dict[str, Any]
    """The guardrail's record: gate, reasons, rollout id."""


async def serving(client: Client, pipeline: str) -> dict[str, Any]:
    """The pipeline with its stable document. Raises NotFoundError where nothing serves."""
    found = await client.ask(GetPipeline(pipeline=pipeline))
    if not found.get("stable"):
        raise NotFoundError(
            f"pipeline {pipeline!r} has no stable revision to be better than; `evoline propose` deploys a first one"
        )
    return found


async def revision(client: Client, pipeline: str, digest: str) -> Document:
    """A revision that the guardrail knows, by its digest or the first 8 digits of it or more. Raises NotFoundError."""
    found = await client.ask(GetPipeline(pipeline=f"{pipeline}@{digest}"))
    return load_document(found["document"])


async def promote(
    client: Client,
    wish: Promotion,
    *,
    change_id: str = "",
    timeout_seconds: float = GATE_SECONDS,
    on_fact: OnFact = ignore,
    on_id: Callable[[str], None] = lambda change_id: None,
) -> Promoted:
    """The first verdict with the gate's numbers. `on_id` hears the change's id before it is proposed.

    Raises InvalidInputError for what cannot be a promotion of this pipeline."""
    require_promotable(wish)
    command = wish.command(client.author, change_id) if change_id else await _not_in_vain(client, wish)
    on_id(command.change_id)
    verdict = await propose(client, command, timeout_seconds=timeout_seconds, on_fact=on_fact)
    change = await client.ask(GetChange(change_id=verdict.change_id))
    require_own(wish, change)
    return Promoted(verdict, change)


async def _not_in_vain(client: Client, wish: Promotion) -> ProposeChange:
    """The wish under an id that is open, or whose verdict stands. A veto before the sealed gate looked says only what was in the
    way then (another rollout, no such data set, a rule): the same wish is judged anew, and no look was spent on it."""
    for attempt in range(MOST_ATTEMPTS):
        command = wish.command(client.author, attempt=attempt)
        try:
            record = await client.ask(GetChange(change_id=command.change_id))
        except NotFoundError:
            return command
        if record["status"] != "vetoed" or record.get("gate"):
            return command
    raise InvalidInputError(Problem(path="--id", reason=f"was vetoed {MOST_ATTEMPTS} times", suggestion="choose an id of your own"))


def require_own(wish: Promotion, change: Mapping[str, Any]) -> None:
    """A change is judged once: under the id of an earlier one its verdict is told. Raises InvalidInputError where that is of
    something else than what was wished for."""
    if (change["pipeline"], change["digest"]) != (wish.pipeline, wish.document.digest):
        reason = f"is the change of {change['pipeline']}@{change['digest'][:12]} already, not of {wish.document.digest[:12]}"
        raise InvalidInputError(Problem(path="--id", reason=reason, suggestion="choose another id, or leave it out"))


def require_in_use(wish: Promotion, pipeline: Mapping[str, Any]) -> None:
    """What was taken back is vetoed as long as it is in quarantine, and a verdict of before would be told as if it still held.

    `pipeline` as `serving` gives it. Raises InvalidInputError."""
    own = next((each for each in pipeline["revisions"] if each["digest"] == wish.document.digest), None)
    if own is None or not own["quarantine"]:
        return
    why, name = own["quarantine"], f"{wish.pipeline}@{wish.document.digest[:12]}"
    reason = f"{name} is in quarantine since {why['at'][:19]}, by {why['author']}: {why['reason']}"
    way = f"`evoline release {name} --reason ...` proposes to take it out; or change the document"
    raise InvalidInputError(Problem(path="document", reason=reason, suggestion=way))


def require_promotable(wish: Promotion) -> None:
    if wish.document.name != wish.pipeline:
        reason = f"the document is of pipeline {wish.document.name!r}, not of {wish.pipeline!r}"
        raise InvalidInputError(Problem(path="name", reason=reason, suggestion=f"set `name: {wish.pipeline}` in it"))
    if wish.document.digest == wish.incumbent:
        reason = f"{wish.document.digest[:12]} serves already: it cannot be better than itself"
        raise InvalidInputError(Problem(path="document", reason=reason, suggestion="name another revision, or a changed document"))
