"""Candidates from templates: the seed library and what the learner added."""

from __future__ import annotations

from collections.abc import Sequence

from services.generator.domain.selection import Draft
from services.generator.domain.task import Task
from services.generator.domain.templates import blanks_of, instantiate
from services.generator.ports import TemplateLibrary
from shared.errors import InvalidInputError


class TemplateStrategy:
    name = "template"

    def __init__(self, library: TemplateLibrary) -> None:
        self._library = library

    async def drafts(self, task: Task) -> Sequence[Draft]:
        blanks = blanks_of(task)
        found: list[Draft] = []
        for template in await self._library.templates():
            if not template.serves(task.kind):
                continue
            strategy = "learned_template" if template.origin.startswith("learned:") else self.name
            strategy = "baseline" if template.name.startswith("plain_") else strategy
            try:
                document = instantiate(
                    template,
                    blanks,
                    name=task.pipeline,
                    description=f"{template.name} for: {task.requirements[:200]}",
                    domain=task.domain,
                )
            except InvalidInputError as error:
                found.append(Draft(strategy, template.origin, None, tuple(str(problem) for problem in error.problems)))
                continue
            found.append(Draft(strategy, template.origin, document))
        return found
