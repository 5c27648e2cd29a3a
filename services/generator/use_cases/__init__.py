"""Verbs of the generator: (message, ports) -> effects to publish."""

from services.generator.use_cases.bound import Effects, Generator
from services.generator.use_cases.generate import generate_pipeline
from services.generator.use_cases.verdicts import forget_templates, learn_template, record_verdict

__all__ = ["Effects", "Generator", "forget_templates", "generate_pipeline", "learn_template", "record_verdict"]
