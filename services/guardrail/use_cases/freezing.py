"""Freezing and unfreezing: one compare-and-set, then nothing that was judged before it can take effect any more."""

from __future__ import annotations

from typing import Any

from services.guardrail.domain.audit import AuditNote
from services.guardrail.domain.freezing import FreezeBoard, with_freeze, without
from services.guardrail.ports import Guardrail, LostRaceError
from services.guardrail.use_cases.telling import Effects
from shared.events.recovery import Freeze, FreezeRefused, FreezeSystem, GetFreezes, SystemFrozen, SystemUnfrozen, UnfreezeSystem


async def freeze_system(command: FreezeSystem, at: Guardrail) -> Effects:
    """Idempotent by freeze id; one that was ended does not come back, and says so. Deployments are fenced before it is told: what
    read the board before this freeze loses its compare-and-set and looks again."""
    now = at.clock.now().isoformat()
    freeze = Freeze(
        freeze_id=command.freeze_id, scope=command.scope, name=command.name, reason=command.reason, author=command.author, at=now
    )
    board = await at.freeze.read()
    if command.freeze_id not in board.causes:
        board = await _swapped(board, with_freeze(board, freeze), at)
    standing = next((each for each in board.freezes if each.freeze_id == command.freeze_id), None)
    if standing is None:
        return [_refused(command.freeze_id, f"freeze {command.freeze_id} was ended: nothing is frozen by it; repeat with a new id")]
    if (standing.scope, standing.name) != (freeze.scope, freeze.name):
        other = f"{command.freeze_id} is a freeze of {standing.name or 'everything'} already; repeat with a new id"
        return [_refused(command.freeze_id, other)]
    await at.deployments.fence(command.pipeline, command.domain)
    at.gauges.frozen(len(board.freezes))
    generation = board.causes[command.freeze_id]
    await at.audit.append(_note(f"freeze:{command.freeze_id}", "system.frozen", freeze, generation))
    fact = SystemFrozen(**freeze.model_dump(exclude={"at"}), generation=generation)
    return [("frozen", fact)]


async def unfreeze_system(command: UnfreezeSystem, at: Guardrail) -> Effects:
    """Idempotent by unfreeze id. What was held is judged next, in its order."""
    board = await at.freeze.read()
    if command.unfreeze_id not in board.causes:
        standing = {each.freeze_id for each in board.freezes}
        if command.freeze_id is not None and command.freeze_id not in standing | set(board.causes):
            known = ", ".join(sorted(standing)) or "none"
            return [_refused(command.unfreeze_id, f"there is no freeze {command.freeze_id!r}; those that stand: {known}")]
        board = await _swapped(board, without(board, command.freeze_id, command.unfreeze_id), at)
    if command.unfreeze_id not in board.ended:
        other = f"the id {command.unfreeze_id} is that of a freeze: nothing was ended by it; repeat with another id"
        return [_refused(command.unfreeze_id, other)]
    at.gauges.frozen(len(board.freezes))
    ended, generation = board.ended[command.unfreeze_id], board.causes[command.unfreeze_id]
    await at.audit.append(
        AuditNote(
            key=f"unfreeze:{command.unfreeze_id}",
            at=at.clock.now().isoformat(),
            action="system.unfrozen",
            actor=command.author,
            subject=command.freeze_id or "all",
            facts={"ended": list(ended), "reason": command.reason, "generation": generation},
        )
    )
    still = tuple(each.freeze_id for each in board.freezes)
    fact = SystemUnfrozen(
        unfreeze_id=command.unfreeze_id, freeze_ids=ended, still=still, author=command.author, generation=generation
    )
    return [("unfrozen", fact)]


async def get_freezes(query: GetFreezes, at: Guardrail) -> dict[str, Any]:
    board = await at.freeze.read()
    return {
        "freezes": [each.model_dump(mode="json") for each in board.freezes],
        "generation": board.generation,
        "held": await at.changes.count_held(),
    }


async def _swapped(before: FreezeBoard, after: FreezeBoard, at: Guardrail) -> FreezeBoard:
    if not await at.freeze.swap(after, from_generation=before.generation):
        raise LostRaceError("the freeze document was written by another process at this moment")
    return after


def _refused(request_id: str, reason: str) -> tuple[str, FreezeRefused]:
    return "refused", FreezeRefused(request_id=request_id, reason=reason)


def _note(key: str, action: str, freeze: Freeze, generation: int) -> AuditNote:
    return AuditNote(
        key=key,
        at=freeze.at,
        action=action,
        actor=freeze.author,
        subject=freeze.name or "all",
        facts={"scope": freeze.scope, "reason": freeze.reason, "generation": generation},
    )
