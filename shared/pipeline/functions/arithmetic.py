"""`arithmetic`: numbers only, from a parsed expression; nothing is ever executed as Python."""

from __future__ import annotations

import ast
import math
import operator
from collections.abc import Callable, Mapping
from typing import Any

from shared.errors import InvalidInputError
from shared.pipeline.functions.spec import FunctionSpec, parameters

MAX_CHARACTERS = 1000
MAX_DEPTH = 40
MAX_BITS = 4096
"""Whole numbers beyond this size are refused before they are computed: `9**9**9` costs nothing."""

Number = int | float

_BINARY: dict[type[ast.operator], Callable[[Any, Any], Any]] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.Div: operator.truediv,
    ast.FloorDiv: operator.floordiv,
    ast.Mod: operator.mod,
    ast.Pow: operator.pow,
}
_UNARY: dict[type[ast.unaryop], Callable[[Any], Any]] = {ast.UAdd: operator.pos, ast.USub: operator.neg}
_FUNCTIONS: dict[str, Callable[..., Any]] = {
    "abs": abs,
    "ceil": math.ceil,
    "floor": math.floor,
    "max": max,
    "min": min,
    "round": round,
    "sqrt": math.sqrt,
    "sum": lambda *numbers: math.fsum(numbers) if any(isinstance(each, float) for each in numbers) else sum(numbers),
}


def arithmetic(expression: str, variables: Mapping[str, Number] | None = None) -> Number:
    """Value of an expression in + - * / // % **, parentheses, named numbers and a few functions.

    Raises `InvalidInputError`: syntax, unknown name, division by zero, a result that is not finite or too large."""
    try:
        tree = ast.parse(expression.strip(), mode="eval")
        return _bounded(_evaluate(tree.body, variables or {}, 0))
    except (SyntaxError, RecursionError, MemoryError) as error:
        raise InvalidInputError(f"arithmetic: not an expression: {expression[:80]}") from error
    except (ArithmeticError, ValueError, TypeError) as error:
        raise InvalidInputError(f"arithmetic: {error}") from error


def _evaluate(node: ast.expr, variables: Mapping[str, Number], depth: int) -> Number:
    if depth > MAX_DEPTH:
        raise ValueError(f"nested deeper than {MAX_DEPTH}")
    if isinstance(node, ast.Constant):
        return _number(node.value)
    if isinstance(node, ast.Name):
        return _variable(node.id, variables)
    if isinstance(node, ast.UnaryOp) and type(node.op) in _UNARY:
        return _bounded(_UNARY[type(node.op)](_evaluate(node.operand, variables, depth + 1)))
    if isinstance(node, ast.BinOp) and type(node.op) in _BINARY:
        left, right = (_evaluate(side, variables, depth + 1) for side in (node.left, node.right))
        return _bounded(_operate(type(node.op), left, right))
    if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in _FUNCTIONS and not node.keywords:
        arguments = [_evaluate(argument, variables, depth + 1) for argument in node.args]
        return _bounded(_FUNCTIONS[node.func.id](*arguments))
    known = ", ".join(_FUNCTIONS)
    raise ValueError(f"only numbers, names, + - * / // % ** and {known} are allowed")


def _operate(kind: type[ast.operator], left: Number, right: Number) -> Any:
    if kind is ast.Pow and isinstance(left, int) and isinstance(right, int) and right * left.bit_length() > MAX_BITS:
        raise ValueError(f"the power is larger than {MAX_BITS} bits")
    return _BINARY[kind](left, right)


def _bounded(value: Any) -> Number:
    """Every intermediate result is a finite real number of bounded size."""
    number = _number(value)
    if isinstance(number, int) and number.bit_length() > MAX_BITS:
        raise ValueError(f"a number is larger than {MAX_BITS} bits")
    if isinstance(number, float) and not math.isfinite(number):
        raise ValueError("a result is not finite")
    return number


def _variable(name: str, variables: Mapping[str, Number]) -> Number:
    if name not in variables:
        raise ValueError(f"unknown name `{name}`; known: {', '.join(sorted(variables)) or 'none'}")
    return _bounded(variables[name])


def _number(value: Any) -> Number:
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise ValueError(f"{type(value).__name__} is not a number")  # noqa: TRY004  one error kind for all bad expressions
    return value


ARITHMETIC = FunctionSpec(
    name="arithmetic",
    description="Computes an expression of numbers: + - * / // % **, parentheses, abs ceil floor max min round sqrt sum.",
    parameters=parameters(
        {"expression": {"type": "string", "minLength": 1, "maxLength": MAX_CHARACTERS}},
        {"variables": {"type": "object", "additionalProperties": {"type": "number"}, "maxProperties": 100}},
    ),
    cost_class="free",
    pure=arithmetic,
)
