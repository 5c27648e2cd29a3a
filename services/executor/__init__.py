"""Consumes `cmd.executor.*` (execute, cancel, pause, resume, retry, fork, import); answers `api.executor.*`.
Emits `evt.run.started`, `evt.run.suspended`, `evt.run.finished` and `evt.run.imported`;
proposes changes to the guardrail on behalf of steps.
Owns the database `evoline_executor`: runs, journal, sessions, answers, scope_usage, pools, stops, controls_received."""
