"""What step types share: strict options and the defaults of the hooks that loading and checks ask."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, ClassVar

from pydantic import BaseModel, ConfigDict

from shared.errors import Problem
from shared.pipeline.document import NoOptions, Step
from shared.pipeline.step import StepContext, StepResult, Want
from shared.pipeline.strict import StrictModel

__all__ = ["BaseStepType", "NoOptions", "Options", "templates_in"]


class Options(StrictModel):
    """Root of all options models: an unknown key is an error."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False, populate_by_name=True)


class BaseStepType:
    """Defaults of `shared.pipeline.step.StepType`. Instances hold no state."""

    type_names: ClassVar[tuple[str, ...]] = ()
    options: ClassVar[type[BaseModel]] = NoOptions
    families: ClassVar[tuple[str, ...]] = ()
    requires_prompt: ClassVar[bool] = False
    requires_schema: ClassVar[bool] = False
    answers_schema: ClassVar[bool] = False
    answers_many: ClassVar[bool] = False
    value_fields: ClassVar[tuple[str, ...]] = ()
    owns_retry: ClassVar[bool] = False

    @staticmethod
    def templates(options: Any) -> tuple[tuple[str, Any], ...]:
        return tuple(templates_in(options))

    @staticmethod
    def inner_steps(options: Any) -> tuple[Any, ...]:
        return ()

    @staticmethod
    def repeats(options: Any) -> int:
        return 1

    @staticmethod
    def functions(options: Any) -> tuple[str, ...]:
        return ()

    @staticmethod
    def nested(options: Any) -> tuple[Any, ...]:
        return ()

    @staticmethod
    def wants(options: Any) -> tuple[tuple[str, Want], ...]:
        return ()

    @staticmethod
    def compares(options: Any) -> Any:
        return None

    @staticmethod
    def told_candidates(options: Any, candidates: Any) -> Any:
        return options

    @staticmethod
    def max_calls(options: Any) -> int:
        return 0

    def problems(self, step: Step) -> tuple[Problem, ...]:
        found = []
        if self.requires_prompt and not (step.prompt or "").strip():
            found.append(Problem(path="prompt", reason=f"step type `{step.type}` needs a prompt"))
        if self.requires_schema and step.output_schema is None:
            suggestion = "add `schema:` with the fields that you want"
            found.append(Problem(path="schema", reason=f"step type `{step.type}` needs a schema", suggestion=suggestion))
        return tuple(found)

    async def run(self, step: Any, options: Any, context: StepContext) -> StepResult:
        raise NotImplementedError(f"{type(self).__name__} does not say what it does")


def templates_in(value: Any, path: str = "") -> Iterator[tuple[str, Any]]:
    """(path, text) of every text that holds template marks, inner steps left out: they are checked as steps."""
    if isinstance(value, str):
        if "{{" in value or "{%" in value:
            yield path, value
    elif isinstance(value, Step):
        return
    elif isinstance(value, BaseModel):
        for name, field in type(value).model_fields.items():
            yield from templates_in(getattr(value, name), _join(path, field.alias or name))
    elif isinstance(value, Mapping):
        for key, item in value.items():
            yield from templates_in(item, _join(path, str(key)))
    elif isinstance(value, Sequence):
        for index, item in enumerate(value):
            yield from templates_in(item, f"{path}[{index}]")


def _join(path: str, name: str) -> str:
    return f"{path}.{name}" if path else name
