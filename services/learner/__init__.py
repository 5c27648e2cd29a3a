"""Consumes `LearnFromRuns`, `PipelineScored`, `RunFinished`, `ChangeApproved`, `PipelineRolledBack`.
Emits `PatternsMined`, `ProposeChange` (templates), `TemplateLearned`.
Owns the database `evoline_learner`: scored revisions, patterns, templates."""
