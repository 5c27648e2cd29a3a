"""Consumes `StartEvolution`, `StartExperiment`, the guardrail's verdicts on its own proposals and the ends of their rollouts.
Emits progress and ends of searches and experiments, `PipelineScored`, `ProposeChange`, and `ExecuteRun` under a trial scope.
Owns the database `evoline_evolution`: evolutions, candidates, evaluations, rewrites, experiments."""
