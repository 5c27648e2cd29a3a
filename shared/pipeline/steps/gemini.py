"""`gemini`: one completion of the Gemini family."""

from __future__ import annotations

from shared.pipeline.steps.completion_step import CompletionStep


class GeminiStep(CompletionStep):
    type_names = ("gemini",)
    families = ("gemini",)
