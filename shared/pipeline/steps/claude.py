"""`claude`: one completion of the Claude family."""

from __future__ import annotations

from shared.pipeline.steps.completion_step import CompletionStep


class ClaudeStep(CompletionStep):
    type_names = ("claude",)
    families = ("claude",)
