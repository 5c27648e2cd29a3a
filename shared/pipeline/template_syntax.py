"""The part of Jinja2 that the language allows: expressions, `if` and `for`, a fixed set of filters, tests and methods.

Everything is bounded: source, nesting, loop rounds, numbers, and all work of one rendering (`template_work`). Nothing reaches
Python objects.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Mapping
from itertools import islice
from typing import Any

from jinja2 import StrictUndefined, TemplateSyntaxError, nodes
from jinja2.exceptions import SecurityError
from jinja2.runtime import Context, Undefined
from jinja2.sandbox import ImmutableSandboxedEnvironment
from jinja2.utils import pass_context

from shared.pipeline.template_filters import FILTERS, TESTS
from shared.pipeline.template_text import as_text
from shared.pipeline.template_work import MAX_CHARACTERS, WORK, Work, made, weigh, weight

MAX_SOURCE = 200_000
MAX_TOKENS = 50_000
MAX_NODES = 20_000
MAX_NESTING = 200
MAX_LOOPS = 12
"""Inside each other; Python compiles at most 20."""
MAX_BRANCHES = 50
"""`if` inside `if`, and `elif` of one of them."""
MAX_ROUNDS = 100_000
"""Loop rounds of one rendering, nested ones counted."""
ROUNDS = "__rounds"

METHODS: Mapping[type, frozenset[str]] = {
    str: frozenset("lower upper strip lstrip rstrip title capitalize startswith endswith split splitlines count find".split()),  # noqa: SIM905
    dict: frozenset(("get", "items", "keys", "values")),
    list: frozenset(("index", "count")),
}
_ALLOWED = (
    nodes.Template,
    nodes.Output,
    nodes.TemplateData,
    nodes.If,
    nodes.For,
    nodes.Name,
    nodes.Const,
    nodes.Tuple,
    nodes.List,
    nodes.Dict,
    nodes.Pair,
    nodes.Keyword,
    nodes.CondExpr,
    nodes.Filter,
    nodes.Test,
    nodes.Call,
    nodes.Getitem,
    nodes.Getattr,
    nodes.Slice,
    nodes.Concat,
    nodes.Compare,
    nodes.Operand,
    nodes.Add,
    nodes.Sub,
    nodes.Mul,
    nodes.Div,
    nodes.FloorDiv,
    nodes.Mod,
    nodes.Not,
    nodes.Neg,
    nodes.Pos,
    nodes.And,
    nodes.Or,
)


class Sandbox(ImmutableSandboxedEnvironment):
    """Compiles and runs templates. `finalize` turns an inserted value into text."""

    intercepted_binops = frozenset(("+", "-", "*", "/", "//", "%"))

    def __init__(self, finalize: Callable[[Any], str]) -> None:
        super().__init__(undefined=StrictUndefined, autoescape=False, finalize=_unless_undefined(finalize), cache_size=0)
        self.keep_trailing_newline = True
        self.filters = {**FILTERS, "_rounds": _bounded, "_concat": _concat, "_weigh": weigh, "_slice": _slice}
        self.tests = dict(TESTS)
        self.globals = {"range": _range}

    def getattr(self, obj: Any, attribute: str) -> Any:
        """A map's keys come before its methods: `x.items` is the field where there is one."""
        if isinstance(obj, Mapping):
            return self._member(obj, attribute)
        return super().getattr(obj, attribute)

    def getitem(self, obj: Any, argument: Any) -> Any:
        if isinstance(obj, Mapping) and isinstance(argument, str):
            return self._member(obj, argument)
        return super().getitem(obj, argument)

    def _member(self, obj: Mapping[Any, Any], name: str) -> Any:
        if name in obj:
            return obj[name]
        if name in METHODS[dict]:
            return getattr(obj, name)
        return self.undefined(obj=dict(obj), name=name)

    def is_safe_attribute(self, obj: Any, attr: str, value: Any) -> bool:
        if attr.startswith("_"):
            return False
        if isinstance(obj, str | list | tuple):
            return attr in METHODS[str if isinstance(obj, str) else list]
        return type(obj).__module__.startswith("jinja2.") and not callable(value)

    def call_binop(self, context: Context, operator: str, left: Any, right: Any) -> Any:
        if operator == "%" and isinstance(left, str):
            raise SecurityError("text formatting with % is not allowed")
        if operator == "*" and not (_is_number(left) and _is_number(right)):
            raise SecurityError("only numbers can be multiplied")
        if operator == "*" and max(abs(left), abs(right)) > 1e100:
            raise SecurityError("the number is too large")
        work: Work = context[WORK]
        work.spend(weight(left) + weight(right))
        result = super().call_binop(context, operator, left, right)
        if isinstance(result, float) and not math.isfinite(result):
            raise SecurityError("the number is too large")
        return made(result, work)

    def call(__self, __context: Context, __obj: Any, *arguments: Any, **named: Any) -> Any:  # noqa: N805  (as in Jinja2)
        """A method of a text, list or map, charged for what it reads and makes."""
        work: Work = __context[WORK]
        work.spend(weight(getattr(__obj, "__self__", None)) + sum(map(weight, arguments)))
        return made(super().call(__context, __obj, *arguments, **named), work)


def parse(environment: Sandbox, source: str) -> nodes.Template:
    """Syntax tree of a template with only what the language allows in it. Raises `TemplateSyntaxError`."""
    if len(source) > MAX_SOURCE:
        raise TemplateSyntaxError(f"a template of {len(source)} characters; at most {MAX_SOURCE} are allowed", 1)
    try:
        if len(source) > MAX_TOKENS and any(islice(environment.lex(source), MAX_TOKENS, None)):
            raise TemplateSyntaxError(f"more than {MAX_TOKENS} words and signs in one template", 1)
        tree = environment.parse(source)
        _check(tree, 0)
    except RecursionError as error:
        raise TemplateSyntaxError("the template is nested too deeply", 1) from error
    except ValueError as error:
        raise TemplateSyntaxError(f"a number that cannot be read: {error}", 1) from error
    if sum(1 for _ in tree.find_all(nodes.Node)) > MAX_NODES:
        raise TemplateSyntaxError(f"more than {MAX_NODES} expressions and texts in one template", 1)
    _check_blocks(tree, 0, 0)
    return tree


def bounded(tree: nodes.Template, environment: Sandbox) -> nodes.Template:
    """Rewrites loops, comparisons, slices and text concatenation so that a rendering counts and bounds them."""
    for loop in [*tree.find_all(nodes.For)]:
        loop.iter = _filtered(loop.iter, "_rounds", environment)
    for comparison in [*tree.find_all(nodes.Compare)]:
        comparison.expr = _filtered(comparison.expr, "_weigh", environment)
        for operand in comparison.ops:
            operand.expr = _filtered(operand.expr, "_weigh", environment)
    return _replaced(tree, environment)


def _filtered(value: nodes.Node, name: str, environment: Sandbox, *arguments: nodes.Expr) -> nodes.Filter:
    return nodes.Filter(value, name, [*arguments], [], None, None, lineno=value.lineno, environment=environment)


def single_expression(tree: nodes.Template) -> nodes.Expr | None:
    """The expression where a template is exactly one, white space around it aside."""
    outputs = [node for node in tree.body if not _is_blank(node)]
    if len(outputs) != 1 or not isinstance(outputs[0], nodes.Output):
        return None
    parts = [part for part in outputs[0].nodes if not (isinstance(part, nodes.TemplateData) and not part.data.strip())]
    return parts[0] if len(parts) == 1 and not isinstance(parts[0], nodes.TemplateData) else None


def _is_blank(node: nodes.Node) -> bool:
    return isinstance(node, nodes.Output) and all(
        isinstance(part, nodes.TemplateData) and not part.data.strip() for part in node.nodes
    )


def _check(node: nodes.Node, depth: int) -> None:
    line = getattr(node, "lineno", 1) or 1
    if depth > MAX_NESTING:
        raise TemplateSyntaxError("the template is nested too deeply", line)
    if not isinstance(node, _ALLOWED):
        raise TemplateSyntaxError(f"`{type(node).__name__.lower()}` is not allowed in templates; use expressions, if and for", line)
    if isinstance(node, nodes.For) and node.recursive:
        raise TemplateSyntaxError("recursive loops are not allowed", line)
    if isinstance(node, nodes.Call):
        _check_call(node, line)
    for child in node.iter_child_nodes():
        _check(child, depth + 1)


def _check_blocks(node: nodes.Node, loops: int, branches: int) -> None:
    line = getattr(node, "lineno", 1) or 1
    if loops > MAX_LOOPS or branches > MAX_BRANCHES:
        raise TemplateSyntaxError("loops or conditions are nested too deeply", line)
    if isinstance(node, nodes.If) and len(node.elif_) > MAX_BRANCHES:
        raise TemplateSyntaxError(f"more than {MAX_BRANCHES} `elif` in one `if`", line)
    for child in node.iter_child_nodes():
        if isinstance(child, nodes.Stmt):
            _check_blocks(child, loops + isinstance(child, nodes.For), branches + isinstance(child, nodes.If))


def _check_call(node: nodes.Call, line: int) -> None:
    known = frozenset[str]().union(*METHODS.values())
    if isinstance(node.node, nodes.Name) and node.node.name == "range":
        return
    if not isinstance(node.node, nodes.Getattr) or node.node.attr not in known:
        name = node.node.attr if isinstance(node.node, nodes.Getattr) else getattr(node.node, "name", "this")
        raise TemplateSyntaxError(f"`{name}` cannot be called in a template", line)
    if node.dyn_args is not None or node.dyn_kwargs is not None:
        raise TemplateSyntaxError("* and ** arguments are not allowed", line)


def _replaced(tree: nodes.Template, environment: Sandbox) -> nodes.Template:
    for parent in [tree, *tree.find_all(nodes.Node)]:
        for name, value in [*parent.iter_fields()]:
            if isinstance(value, list):
                value[:] = [_counted(each, environment) for each in value]
            else:
                setattr(parent, name, _counted(value, environment))
    return tree


def _counted(node: Any, environment: Sandbox) -> Any:
    if isinstance(node, nodes.Concat):
        return _filtered(nodes.List(node.nodes, lineno=node.lineno, environment=environment), "_concat", environment)
    if isinstance(node, nodes.Getitem) and isinstance(node.arg, nodes.Slice):
        nothing = nodes.Const(None, lineno=node.lineno, environment=environment)
        bounds = (each or nothing for each in (node.arg.start, node.arg.stop, node.arg.step))
        return _filtered(node.node, "_slice", environment, *bounds)
    return node


@pass_context
def _bounded(context: Context, items: Iterable[Any]) -> Iterator[Any]:
    rounds = context[ROUNDS]
    if isinstance(items, Undefined | str) or not isinstance(items, Iterable):
        iter(items)  # an undefined name or a number says itself what is wrong
    for item in items:
        rounds[0] += 1
        if rounds[0] > MAX_ROUNDS:
            raise SecurityError(f"more than {MAX_ROUNDS} loop rounds in one template")
        yield item


@pass_context
def _concat(context: Context, parts: list[Any]) -> str:
    """Texts that the parts would make are bounded before they are put together."""
    texts, length = [], 0
    for part in parts:
        texts.append(as_text(part))
        length += len(texts[-1])
        if length > MAX_CHARACTERS:
            raise SecurityError(f"a template may not make more than {MAX_CHARACTERS} characters")
    context[WORK].spend(weight(texts))
    return "".join(texts)


@pass_context
def _slice(context: Context, value: Any, start: Any, stop: Any, step: Any) -> Any:
    if isinstance(value, Undefined):
        str(value)  # raises with the name in the message
    return made(value[start:stop:step], context[WORK])


def _range(*bounds: int) -> range:
    numbers = range(*bounds)
    if len(numbers) > MAX_ROUNDS:
        raise SecurityError(f"a range of more than {MAX_ROUNDS} numbers")
    return numbers


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _unless_undefined(finalize: Callable[[Any], str]) -> Callable[[Any], Any]:
    def finish(value: Any) -> Any:
        return value if isinstance(value, Undefined) else finalize(value)

    return finish
