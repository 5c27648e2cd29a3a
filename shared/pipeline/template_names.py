"""What a template refers to, read from its syntax tree: for checks and for dataflow edges."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from functools import lru_cache
from typing import Any

from jinja2 import TemplateSyntaxError, nodes

from shared.pipeline.template_filters import FILTERS, TESTS
from shared.pipeline.template_syntax import Sandbox, parse, single_expression
from shared.pipeline.template_text import as_text

NamePath = tuple[str, ...]
"""`steps.a.result[0].text` -> ("steps", "a", "result", "0", "text"); ends where an index is computed."""


_EXPRESSION = re.compile(r"\{\{[^{}\n]{0,2000}\}\}")
"""One expression on one line, as far as a text that does not parse lets itself be read."""


@dataclass(frozen=True)
class TemplateFacts:
    names: frozenset[NamePath] = frozenset()
    faults: tuple[tuple[int, str, str], ...] = ()
    """(line inside the template, reason, suggestion) of everything that is wrong with its syntax, filters and tests."""
    is_expression: bool = False
    """Exactly one expression: keeps its native type."""


def has_marks(source: str) -> bool:
    return "{{" in source or "{%" in source or "{#" in source


def condition_source(condition: str) -> str:
    """A condition may be written with or without braces."""
    text = condition.strip()
    return text if text.startswith(("{{", "{%")) else "{{ " + text + " }}"


@lru_cache(maxsize=2048)
def template_facts(source: str) -> TemplateFacts:
    """Facts of one template text."""
    if not has_marks(source):
        return TemplateFacts()
    try:
        tree = parse(Sandbox(as_text), source)
    except TemplateSyntaxError as error:
        return _broken_facts(source, error)
    names: set[NamePath] = set()
    _collect(tree, frozenset(), names)
    return TemplateFacts(frozenset(names), tuple(_unknown_words(tree)), single_expression(tree) is not None)


def _broken_facts(source: str, error: TemplateSyntaxError) -> TemplateFacts:
    """Facts of a text that does not parse: where it breaks first, and whatever its other expressions tell on their own."""
    names: set[NamePath] = set()
    faults = {error.lineno: (error.lineno, error.message or "not a template", _syntax_suggestion(source, error))}
    for written in [] if _EXPRESSION.fullmatch(source.strip()) else _EXPRESSION.finditer(source):
        facts, before = template_facts(written.group()), source.count("\n", 0, written.start())
        names.update(facts.names)
        for line, reason, suggestion in facts.faults:
            faults.setdefault(before + line, (before + line, reason, suggestion))
    return TemplateFacts(frozenset(names), tuple(faults.values()))


def condition_facts(condition: str) -> TemplateFacts:
    """Facts of a `when`: it must be exactly one expression."""
    facts = template_facts(condition_source(condition))
    if facts.faults or facts.is_expression:
        return facts
    return TemplateFacts(facts.names, ((1, "a condition must be one expression", "write `steps.x.result == 'yes'`"),))


def template_names(template: Any) -> set[str]:
    """Dotted paths of all names in a template, or in every template inside a map or list."""
    return {".".join(path) for text in template_strings(template) for path in template_facts(text).names}


def template_strings(template: Any) -> Iterator[str]:
    """Every text inside a template value."""
    if isinstance(template, str):
        yield template
    elif isinstance(template, Mapping):
        for member in template.values():
            yield from template_strings(member)
    elif isinstance(template, list | tuple):
        for member in template:
            yield from template_strings(member)


def _collect(node: nodes.Node, local: frozenset[str], names: set[NamePath]) -> None:
    if isinstance(node, nodes.For):
        _collect_loop(node, local, names)
        return
    if isinstance(node, nodes.Call) and isinstance(node.node, nodes.Getattr):
        _collect(node.node.node, local, names)
        for argument in [*node.args, *node.kwargs]:
            _collect(argument, local, names)
        return
    path = _path(node)
    if path is not None:
        if path[0] not in local and path != ("range",):
            names.add(path)
        return
    for child in node.iter_child_nodes():
        _collect(child, local, names)


def _collect_loop(loop: nodes.For, local: frozenset[str], names: set[NamePath]) -> None:
    _collect(loop.iter, local, names)
    targets = {name.name for name in [loop.target, *loop.target.find_all(nodes.Name)] if isinstance(name, nodes.Name)}
    inside = local | targets | {"loop"}
    if loop.test is not None:
        _collect(loop.test, inside, names)
    for child in loop.body:
        _collect(child, inside, names)
    for child in loop.else_:
        _collect(child, local, names)


def _path(node: nodes.Node) -> NamePath | None:
    if isinstance(node, nodes.Name):
        return (node.name,)
    if isinstance(node, nodes.Getattr):
        parent = _path(node.node)
        return (*parent, node.attr) if parent else None
    if isinstance(node, nodes.Getitem) and isinstance(node.arg, nodes.Const) and isinstance(node.arg.value, str | int):
        parent = _path(node.node)
        return (*parent, str(node.arg.value)) if parent else None
    return None


def _unknown_words(tree: nodes.Template) -> Iterator[tuple[int, str, str]]:
    for kind, known in ((nodes.Filter, FILTERS), (nodes.Test, TESTS)):
        for node in tree.find_all(kind):
            if node.name not in known:
                yield node.lineno, f"unknown {kind.__name__.lower()} `{node.name}`", _nearest(node.name, known)
    for filtered in tree.find_all(nodes.Filter):
        if filtered.name in ("map", "select", "reject", "selectattr", "rejectattr"):
            yield from _unknown_arguments(filtered)


def _unknown_arguments(node: nodes.Filter) -> Iterator[tuple[int, str, str]]:
    """`map('upper')` names a filter, `select('odd')` and `selectattr('x', 'eq', 1)` a test."""
    known = FILTERS if node.name == "map" else TESTS
    at = 1 if node.name.endswith("attr") else 0
    argument = node.args[at] if len(node.args) > at else None
    if isinstance(argument, nodes.Const) and argument.value not in known:
        yield node.lineno, f"`{node.name}` names the unknown `{argument.value}`", _nearest(str(argument.value), known)


def _nearest(name: str, known: Mapping[str, Any]) -> str:
    close = get_close_matches(name, known, 1)
    return f"did you mean `{close[0]}`?" if close else f"known: {', '.join(sorted(known))}"


def _syntax_suggestion(source: str, error: TemplateSyntaxError) -> str:
    if (error.message or "").endswith("got '='"):
        return "compare with `==`"
    if source.count("{{") != source.count("}}"):
        return "every `{{` needs its `}}`; write literal braces as `{{ '{{' }}`"
    return "check the expression; literal braces are written `{{ '{{' }}`"
