"""Consumes `LearnFromRuns`, `PipelineScored`, `RunFinished`, `OutcomeReported`, `GateFinished`, `ChangeApproved`,
`PipelineRolledBack`, and the ends of searches, experiments and rollouts.
Emits `PatternsMined`, `ProposeChange` (templates), `TemplateLearned`, `GainRealised`.
Owns the database `evoline_learner`: scored revisions, patterns, templates, claims of promotions and what production shows."""
