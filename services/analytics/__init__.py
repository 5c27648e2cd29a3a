"""Consumes `RunFinished`, `PipelineScored`, `PipelinesMeasured`.
Emits `PipelineMeasured`.
Owns the database `evoline_analytics`: aggregates per revision and purpose, records of models per domain."""
