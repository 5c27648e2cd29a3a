"""Shadow runs: the same inputs once more, on the revision that is rolled out, for nobody but the comparison."""

from __future__ import annotations

from datetime import datetime, timedelta

from services.executor.domain.records import RunRecord
from shared.errors import OutOfScopeError
from shared.events.message import derive_id
from shared.events.runs import ExecuteRun, RunFinished, ShadowOrigin

START_WITHIN = timedelta(minutes=10)
"""A shadow that did not start by then is left out: production runs had no room for it."""


def check_origin(command: ExecuteRun, origin: RunRecord | None) -> None:
    """Raises `OutOfScopeError` unless an executor made this very command: what it is compared with is not for senders to say."""
    made = shadow_run(origin, origin.finished, origin.started_at) if origin is not None and origin.finished else None
    if made is None or made.model_copy(update={"deadline_at": command.deadline_at}) != command:
        raise OutOfScopeError("a shadow run repeats a production run that was chosen for it; executors send it themselves")


def shadow_run(record: RunRecord, finished: RunFinished, now: datetime) -> ExecuteRun | None:
    """None for a run that is not repeated. Only what a client began is: nested runs are repeated with their parent."""
    command = record.command
    if not record.shadow or record.rollout_id is None or finished.retries or command.parent_run_id or command.forked_from:
        return None
    if finished.status == "cancelled":
        return None
    origin = ShadowOrigin(
        run_id=record.run_id,
        rollout_id=record.rollout_id,
        status=finished.status,
        latency_seconds=finished.latency_seconds,
        cost_usd=finished.usage.cost_usd,
        most_runs=record.shadow_runs,
    )
    return ExecuteRun(
        run_id=derive_id(record.run_id, f"shadow:{record.rollout_id}"),
        inputs=command.inputs,
        pipeline=f"{record.pipeline}@{record.shadow}",
        purpose="shadow",
        tenant=command.tenant,
        group_id=record.rollout_id,
        seed=command.seed,
        deadline_at=(now + START_WITHIN).isoformat(),
        unit_id=command.unit_id,
        shadow_of=origin,
    )
