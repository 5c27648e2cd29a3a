"""Consumes `GeneratePipeline`, `TemplateLearned`, `PipelineRolledBack` and the guardrail's verdicts on its proposals.
Emits `RequestAccepted`, `RequestProgressed`, `RequestRejected`, `RequestFinished`, `PipelineScored`, `ProposeChange`.
Owns the database `evoline_generator`: requests, learned templates."""
