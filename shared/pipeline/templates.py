"""Rendering: one syntax for prompts, conditions, loop sources, nested inputs and outputs.

What a template inserts is data: it is never expanded again, and `render_prompt` delimits it from instructions. A name that
does not exist is an error, never an empty string.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from jinja2 import Template, TemplateError, UndefinedError, nodes
from jinja2.runtime import Undefined
from pydantic import BaseModel

from shared.errors import InvalidInputError, Problem
from shared.pipeline.names import as_names
from shared.pipeline.plain_values import is_unicode
from shared.pipeline.template_names import condition_source, template_names
from shared.pipeline.template_syntax import ROUNDS, Sandbox, bounded, parse, single_expression
from shared.pipeline.template_text import DATA_RULE, as_data, as_text, delimited, with_context
from shared.pipeline.template_work import MAX_CHARACTERS, WORK, Work

__all__ = [
    "DATA_RULE",
    "TemplateRenderError",
    "UndefinedNameError",
    "as_text",
    "delimited",
    "evaluate_condition",
    "render",
    "render_prompt",
    "template_names",
    "with_context",
]


class TemplateRenderError(InvalidInputError):
    """A template that cannot be rendered with these values."""

    code = "template"


class UndefinedNameError(TemplateRenderError):
    """A name, field or index that does not exist."""

    code = "undefined_name"


def render(template: Any, names: Mapping[str, Any]) -> Any:
    """Evaluates a template, or every template inside a map or list (keys stay as they are).

    A text that is one whole expression gives that expression's value, as JSON-able data; other text gives text, in which
    strings stand as they are and everything else as JSON. Raises `UndefinedNameError`, `TemplateRenderError`."""
    prepared = as_names(names)
    return _render(template, prepared)


def render_prompt(template: str, names: Mapping[str, Any]) -> str:
    """Text for a model: instructions as written, inserted values delimited (see `template_text`).

    A template that is one whole expression has no instructions beside it and stands undelimited."""
    compiled = _compiled(template, "prompt")
    value = _run(compiled, template, as_names(names))
    return value if isinstance(value, str) else as_text(value)


def evaluate_condition(expression: str, names: Mapping[str, Any]) -> bool:
    """Truth of a `when`, written with or without braces. The texts `true` and `false` count as what they say."""
    source = condition_source(expression)
    compiled = _compiled(source, "text")
    if not compiled.is_native:
        raise TemplateRenderError(Problem(path=expression, reason="a condition must be one expression"))
    value = _run(compiled, source, as_names(names))
    if isinstance(value, str) and value.strip().lower() in ("true", "false"):
        return value.strip().lower() == "true"
    return bool(value)


def _render(template: Any, names: Mapping[str, Any]) -> Any:
    if isinstance(template, str):
        if "{" not in template:
            return template
        return _run(_compiled(template, "text"), template, names)
    if isinstance(template, Mapping):
        return {key: _render(member, names) for key, member in template.items()}
    if isinstance(template, list | tuple):
        return [_render(member, names) for member in template]
    return template


@dataclass(frozen=True)
class _Compiled:
    template: Template
    is_native: bool


@lru_cache(maxsize=2048)
def _compiled(source: str, mode: str) -> _Compiled:
    environment = _environment(mode)
    try:
        tree = parse(environment, source)
        expression = single_expression(tree)
        if expression is not None:
            tree = nodes.Template([nodes.Assign(nodes.Name("result", "store"), expression, lineno=1)], lineno=1)
            tree.set_environment(environment)
        return _Compiled(environment.from_string(bounded(tree, environment)), expression is not None)
    except TemplateError as error:
        raise TemplateRenderError(Problem(path=_short(source), reason=error.message or "not a template")) from error
    except (SyntaxError, RecursionError, MemoryError) as error:  # of Python, which compiles what Jinja2 makes of it
        raise TemplateRenderError(Problem(path=_short(source), reason="the template is nested too deeply")) from error


@lru_cache(maxsize=2)
def _environment(mode: str) -> Sandbox:
    finalizers: Mapping[str, Callable[[Any], str]] = {"text": as_text, "prompt": as_data}
    return Sandbox(finalizers[mode])


def _run(compiled: _Compiled, source: str, names: Mapping[str, Any]) -> Any:
    try:
        context = compiled.template.new_context({**names, ROUNDS: [0], WORK: Work()})
        chunks = compiled.template.root_render_func(context)
        if not compiled.is_native:
            return _joined(chunks)
        for _ in chunks:
            pass
        return _native(context.vars["result"])
    except UndefinedError as error:
        raise UndefinedNameError(Problem(path=_short(source), reason=error.message or "undefined name")) from error
    except (TemplateError, TypeError, ValueError, ArithmeticError, LookupError, AttributeError, RecursionError) as error:
        raise TemplateRenderError(Problem(path=_short(source), reason=str(error) or type(error).__name__)) from error


def _joined(chunks: Iterator[str]) -> str:
    parts: list[str] = []
    length = 0
    for chunk in chunks:
        length += len(chunk)
        if length > MAX_CHARACTERS:
            raise ValueError(f"a template may not make more than {MAX_CHARACTERS} characters")
        parts.append(chunk)
    return str(_checked("".join(parts)))


def _native(value: Any) -> Any:
    """Detached JSON-able data: generators of filters are drawn, undefined members are an error."""
    if isinstance(value, Undefined):
        str(value)  # raises with the name in the message
    if value is None or isinstance(value, str | int | float | bool):
        return _checked(value)
    if isinstance(value, BaseModel):
        return value.model_dump(mode="json")
    if isinstance(value, Mapping):
        return {str(key): _native(member) for key, member in value.items()}
    if callable(value):
        raise TypeError("a method without its call")
    return [_native(member) for member in value]


def _checked(value: Any) -> Any:
    if isinstance(value, str) and not is_unicode(value):
        raise ValueError("text that is not valid Unicode")
    if isinstance(value, float) and not math.isfinite(value):
        raise ValueError(f"{value} is not a finite number")
    return value


def _short(source: str) -> str:
    text = " ".join(source.split())
    return text if len(text) <= 80 else text[:77] + "..."
