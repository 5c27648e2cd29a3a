"""Consumes `StartEvolution` and the guardrail's verdicts on its own proposals; answers `GetEvolution`,
`GetLineage`, `GetCandidate`.
Emits `EvolutionProgressed`, `EvolutionFinished`, `PipelineScored`, `ProposeChange`, and `ExecuteRun` under a trial scope.
Owns the database `evoline_evolution`: evolutions, candidates, evaluations, rewrites."""
