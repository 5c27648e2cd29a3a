"""Outputs of runs as their users want them: large ones come by reference."""

from __future__ import annotations

from shared.events.runs import RunFinished
from shared.large_values import LargeValues


async def with_outputs(run: RunFinished, values: LargeValues) -> RunFinished:
    """Raises NotFoundError where a value is kept no longer, `DamagedValueError`, UnavailableError."""
    return run.model_copy(update={"outputs": await values.unpack(run.outputs)})
