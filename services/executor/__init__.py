"""Consumes `cmd.executor.execute` and `cmd.executor.cancel`; answers `api.executor.*`.
Emits `evt.run.started` and `evt.run.finished`; proposes changes to the guardrail on behalf of steps.
Owns the database `evoline_executor`: runs, journal, sessions, answers, scope_usage, cancellations."""
