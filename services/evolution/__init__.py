"""Consumes `StartEvolution`, `StartExperiment`, `TemplateLearned`, verdicts on its own proposals and ends of their rollouts.
Emits progress and ends of searches and experiments, `PipelineScored`, `ProposeChange`, and `ExecuteRun` under a trial scope.
Owns the database `evoline_evolution`: evolutions, candidates, evaluations, rewrites, templates, experiments."""
