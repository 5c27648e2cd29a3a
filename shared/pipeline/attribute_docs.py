"""What stands under the fields of a model in its source: for generated documentation, never at run time."""

from __future__ import annotations

import ast
import inspect
import textwrap
from functools import cache
from typing import Any, get_args

from pydantic import BaseModel


def attribute_docs(model: type[BaseModel]) -> dict[str, str]:
    """The string literals under the attributes of a class and of those of ours that it inherits from, in one line each."""
    bases = [base for base in reversed(model.__mro__) if issubclass(base, BaseModel) and base.__module__.startswith("shared.")]
    return {name: text for base in bases for name, text in _own_docs(base).items()}


def models_inside(model: type[BaseModel]) -> dict[str, type[BaseModel]]:
    """Models that the fields of this one hold, however deep, by name."""
    found: dict[str, type[BaseModel]] = {}
    waiting = [model]
    while waiting:
        for field in waiting.pop().model_fields.values():
            new = [inner for inner in _models_in(field.annotation) if inner.__name__ not in found]
            found |= {inner.__name__: inner for inner in new}
            waiting += new
    return found


@cache
def _own_docs(model: type[BaseModel]) -> dict[str, str]:
    tree = ast.parse(textwrap.dedent(inspect.getsource(model))).body[0]
    assert isinstance(tree, ast.ClassDef)
    found = {}
    for statement, following in zip(tree.body, tree.body[1:], strict=False):
        documented = isinstance(following, ast.Expr) and isinstance(following.value, ast.Constant)
        if isinstance(statement, ast.AnnAssign) and isinstance(statement.target, ast.Name) and documented:
            found[statement.target.id] = " ".join(str(following.value.value).split())  # type: ignore[attr-defined]
    return found


def _models_in(annotation: Any) -> list[type[BaseModel]]:
    if inspect.isclass(annotation) and issubclass(annotation, BaseModel):
        return [annotation]
    return [model for argument in get_args(annotation) for model in _models_in(argument)]
