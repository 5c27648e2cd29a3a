"""The stable revision of when something began: it goes on with the same one, whatever is deployed meanwhile."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from services.evolution.ports import StablePipeline
from services.evolution.use_cases.bound import Evolution
from shared.errors import NotFoundError, PermanentError

Keep = Callable[[Mapping[str, Any]], Awaitable[None]]


async def pinned(pipeline: str, record: Mapping[str, Any], keep: Keep, again: str, at: Evolution) -> StablePipeline:
    """The one in the record, else the one of now, which `keep` writes there: what was measured against it would not fit another.

    `again`: what to do where it was taken back meanwhile, which raises `PermanentError`."""
    if known := record.get("stable"):
        if await at.evolutions.quarantined((known["digest"],)):
            raise PermanentError(f"revision {known['digest'][:12]}, with which this began, was taken back meanwhile: {again}")
        return StablePipeline(known["digest"], known["document"])
    stable = await at.custodian.stable(pipeline)
    await keep({"stable": {"digest": stable.digest, "document": stable.document}})
    return stable


async def moved(pipeline: str, digest: str, at: Evolution) -> tuple[str, ...]:
    """One sentence where another revision than the one that it began with is stable now; what the sealed gate then does."""
    try:
        now = (await at.custodian.stable(pipeline)).digest
    except NotFoundError:
        return (f"it began with {digest[:12]}, and no revision is stable any more: there is nothing to be better than",)
    if now == digest:
        return ()
    return (
        f"the stable revision moved meanwhile: it began with {digest[:12]}, {now[:12]} serves now, "
        "and the sealed gate compares with what serves then",
    )
