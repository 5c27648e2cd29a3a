"""Asks evolution and the guardrail for what a lineage is made of."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Mapping
from typing import Any

from pydantic import ValidationError

from evoline.client.api import Client
from evoline.lineage.tree import Lineage, build
from shared.errors import NotFoundError
from shared.events.changes import ListPromotions
from shared.events.deployments import GetPipeline, ListPipelines
from shared.events.lineage import GetCandidate, GetLineage

_SECONDS = 10.0
_DIGEST = re.compile(r"[0-9a-f]{8,64}")
_MOST_PIPELINES = 200


class Lineages:
    """`candidates`: of each evolution, at most."""

    def __init__(self, client: Client, *, evolutions: int = 10, candidates: int = 60) -> None:
        self._client = client
        self._limits = {"limit": evolutions, "candidates": candidates}

    async def recent(self) -> list[Lineage]:
        """Of the pipelines that were evolved last."""
        found = (await self._ask(GetLineage(limit=self._limits["limit"], candidates=1)))["evolutions"]
        return [await self.of_pipeline(name) for name in dict.fromkeys(each["pipeline"] for each in found)]

    async def of(self, target: str) -> Lineage:
        """A pipeline's name, an evolution's id, or a digest (also `name@digest`). Raises NotFoundError."""
        with contextlib.suppress(NotFoundError, ValidationError):
            return await self.of_pipeline(target)
        with contextlib.suppress(NotFoundError, ValidationError):
            return await self.of_evolution(target)
        name, _, digest = target.rpartition("@")
        if _DIGEST.fullmatch(digest):
            return await self.of_digest(digest, name)
        raise NotFoundError(f"no pipeline, evolution or revision is called {target!r}")

    async def of_pipeline(self, name: str) -> Lineage:
        """Raises NotFoundError for a pipeline that was neither deployed nor evolved."""
        query = GetLineage(pipeline=name, **self._limits)
        try:
            pipeline = await self._ask(GetPipeline(pipeline=name))
        except NotFoundError:
            pipeline = None
        evolutions = (await self._ask(query))["evolutions"]
        if pipeline is None and not evolutions:
            raise NotFoundError(f"pipeline {name!r} was neither deployed nor evolved")
        promotions = (await self._ask(ListPromotions(pipeline=name)))["promotions"] if pipeline is not None else []
        return build(pipeline, evolutions, name, promotions)

    async def of_evolution(self, evolution_id: str) -> Lineage:
        query = GetLineage(evolution_id=evolution_id, candidates=self._limits["candidates"])
        (evolution,) = (await self._ask(query))["evolutions"]
        name = evolution["pipeline"]
        pipeline = None
        with contextlib.suppress(NotFoundError):
            pipeline = await self._ask(GetPipeline(pipeline=name))
        return build(pipeline, [evolution], name).of_evolution(evolution_id)

    async def of_digest(self, digest: str, name: str = "") -> Lineage:
        found = await self.revision(digest, name)
        whole = await self.of_pipeline(found["pipeline"])
        if found["digest"] not in whole.nodes:
            whole = await self.of_evolution(found["evolution_id"])  # an old one, or one candidate of very many
        if found["digest"] not in whole.nodes:
            raise NotFoundError(f"{found['digest'][:12]} is not among the candidates that are told: ask for more with --candidates")
        return whole.around(found["digest"])

    async def revision(self, digest: str, name: str = "") -> dict[str, Any]:
        """`{digest, pipeline, document, parent, parent_document, evolution_id}`; no document while the candidate's search goes on.
        Raises NotFoundError."""
        if not name:
            with contextlib.suppress(NotFoundError):
                return await self._ask(GetCandidate(digest=digest))
        for each in [name] if name else await self._names():
            with contextlib.suppress(NotFoundError):
                return await self._deployed(each, digest)
        raise NotFoundError(f"no candidate or revision {digest}")

    async def _deployed(self, name: str, digest: str) -> dict[str, Any]:
        answer = await self._ask(GetPipeline(pipeline=f"{name}@{digest}"))
        row = next(each for each in answer["revisions"] if each["digest"] == answer["digest"])
        parent = row.get("parent_digest") or ""
        before: Mapping[str, Any] = {}
        if parent:
            with contextlib.suppress(NotFoundError):
                before = await self._ask(GetPipeline(pipeline=f"{name}@{parent}"))
        found = {"digest": answer["digest"], "pipeline": name, "document": answer["document"], "evolution_id": ""}
        return {**found, "parent": parent, "parent_document": before.get("document"), "operator": "", "text": ""}

    async def _names(self) -> list[str]:
        return [each["name"] for each in (await self._ask(ListPipelines(limit=_MOST_PIPELINES)))["pipelines"]]

    async def _ask(self, query: Any) -> dict[str, Any]:
        return await self._client.ask(query, timeout_seconds=_SECONDS)
