"""What a run did, in pages."""

from __future__ import annotations

import json
from typing import Any

from services.executor.domain.run_log import line_of_entry, lines_of_run
from services.executor.ports import Journal, RunStore
from services.executor.use_cases.resume import known_run
from shared.events.transfer import GetRunLog

MAX_PAGE_BYTES = 700_000


async def run_log(query: GetRunLog, runs: RunStore, journal: Journal) -> dict[str, Any]:
    """Lines of the run itself, then those of the journal in its order; whoever shows them sorts them by their time."""
    record = await known_run(query.run_id, runs)
    entries = await journal.outline(query.run_id, query.after)
    lines: list[dict[str, Any]] = []
    room = MAX_PAGE_BYTES
    for entry in entries[: query.limit]:
        line = line_of_entry(entry, record.started_at)
        room -= len(json.dumps(line))
        if lines and room < 0:
            break
        lines.append(line)
    told = len(lines)
    return {
        "run_id": record.run_id,
        "pipeline": record.pipeline,
        "status": record.status,
        "imported": record.is_inert,
        "lines": [*lines_of_run(record), *lines],
        "next": query.after + told,
        "more": told < len(entries),
    }
