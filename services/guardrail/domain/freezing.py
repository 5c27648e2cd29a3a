"""Which freezes stand: one document, changed by compare-and-set on its generation. Executors read this shape."""

from __future__ import annotations

from pydantic import Field

from services.guardrail.domain.descent import Record
from shared.events.recovery import Freeze

REMEMBERED = 200
"""Freezes and unfreezes that are recognised when they are told again."""


class FreezeBoard(Record):
    freezes: tuple[Freeze, ...] = ()
    generation: int = 0
    causes: dict[str, int] = Field(default_factory=dict)
    """Freeze or unfreeze id -> generation that it made."""
    ended: dict[str, tuple[str, ...]] = Field(default_factory=dict)
    """Unfreeze id -> freezes that it ended."""

    def holding(self, pipeline: str, *domains: str) -> Freeze | None:
        return next((each for each in self.freezes if each.holds(pipeline, *domains)), None)


def with_freeze(board: FreezeBoard, freeze: Freeze) -> FreezeBoard:
    return _next(board, freeze.freeze_id, (*board.freezes, freeze))


def without(board: FreezeBoard, freeze_id: str | None, cause: str) -> FreezeBoard:
    """Without this freeze, or without any."""
    ended = tuple(each.freeze_id for each in board.freezes if freeze_id in (None, each.freeze_id))
    after = _next(board, cause, tuple(each for each in board.freezes if each.freeze_id not in ended))
    return after.model_copy(update={"ended": dict([*list(board.ended.items())[-(REMEMBERED - 1) :], (cause, ended)])})


def _next(board: FreezeBoard, cause: str, freezes: tuple[Freeze, ...]) -> FreezeBoard:
    generation = board.generation + 1
    causes = dict([*list(board.causes.items())[-(REMEMBERED - 1) :], (cause, generation)])
    return board.model_copy(update={"freezes": freezes, "generation": generation, "causes": causes})
