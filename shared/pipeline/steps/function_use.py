"""Functions that a step offers to its model: entries of the function catalogue, with a narrower form where the author wants one."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any

from pydantic import BeforeValidator, Field

from shared.pipeline.completion import ToolSpec
from shared.pipeline.document import schema_error
from shared.pipeline.schema_shorthand import SchemaShorthandError, parameters_schema
from shared.pipeline.step import StepContext
from shared.pipeline.steps.base import Options


def _parameters(value: Any) -> Any:
    try:
        return None if value is None else parameters_schema(value)
    except SchemaShorthandError as error:
        raise schema_error(error) from error


class FunctionUse(Options):
    """`parameters`: JSON Schema, or the shorthand in which a list of values is an enum; absent means the catalogue's own."""

    name: str = Field(pattern=r"^[a-z][a-z0-9_]{0,62}$")
    description: str = ""
    parameters: Annotated[dict[str, Any] | None, BeforeValidator(_parameters)] = None

    def tool(self, context: StepContext) -> ToolSpec:
        catalogued = context.function_spec(self.name)
        return ToolSpec(
            name=self.name,
            description=self.description or catalogued.description,
            parameters=catalogued.parameters if self.parameters is None else self.parameters,
        )


def _by_name(value: Any) -> Any:
    if isinstance(value, Mapping):
        return [{"name": name, **(use or {})} for name, use in value.items()]
    if isinstance(value, list | tuple):
        return [{"name": each} if isinstance(each, str) else each for each in value]
    return value


FunctionUses = Annotated[tuple[FunctionUse, ...], BeforeValidator(_by_name), Field(max_length=32)]
"""A list of names, a list of maps, or a map of name to map."""
