"""consumes cmd.guardrail.{register_dataset,propose,decide,rollback,measure} and api.guardrail.*;
emits evt.{dataset,change,gate,review,pipeline,rollback,pipelines}.*;
owns evoline_guardrail (changes, revisions, deployments, quarantine, datasets, scopes, quotas, audit, ...) and evoline_sealed."""
