"""How much one rendering may do. Every operation is charged for what it reads and makes, so that no combination of bounded parts,
as a filter over a long list inside a loop, runs or grows without bound. Counted, not timed: the same everywhere.

A unit is about a tenth of a microsecond; texts and lists that are made cost by their memory.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import wraps
from types import GeneratorType
from typing import Any

from jinja2.exceptions import SecurityError
from jinja2.runtime import Context, Undefined
from jinja2.utils import pass_context

MAX_WORK = 20_000_000
"""Of one rendering: one to three seconds, at most some hundred MB on the way."""
MAX_CHARACTERS = 4 * 1024 * 1024
"""Longest text that a template may make."""
WORK = "__work"
_CALL = 10
_MEMBER = 8
_CHARACTERS_PER_UNIT = 4
_HOLDING = frozenset((dict, list, tuple))


class Work:
    """What is left for one rendering."""

    def __init__(self) -> None:
        self.left = MAX_WORK

    def spend(self, units: int) -> None:
        self.left -= units
        if self.left < 0:
            raise SecurityError("the template does too much: too many or too large operations")


def checked_length(value: Any) -> Any:
    """The value itself, if it is no text or list beyond what a template may make."""
    if isinstance(value, str | list | tuple) and len(value) > MAX_CHARACTERS:
        raise SecurityError(f"a template may not make more than {MAX_CHARACTERS} characters")
    return value


def weight(value: Any) -> int:
    """Units that reading or making a value costs, its members included; lazy values are charged as they are drawn."""
    if isinstance(value, range):
        return 1 + _MEMBER * len(value)
    total, characters, pending = 1, 0, [[value]]
    while pending and total + characters // _CHARACTERS_PER_UNIT <= MAX_WORK:
        for member in pending.pop():
            kind = type(member)
            if kind is str:
                characters += len(member)
            elif kind in _HOLDING and member:
                total += _MEMBER * len(member)
                pending.append(member.values() if kind is dict else member)
            if total > MAX_WORK:
                break
    return total + characters // _CHARACTERS_PER_UNIT


def metered(function: Callable[..., Any], *, reads: int = 1) -> Callable[..., Any]:
    """A filter or test that is charged `reads` times for all that it is given, and for what it gives; with 0 for neither. It is
    never run while a template is compiled: there is nothing to charge it to then."""
    wanted = getattr(getattr(function, "jinja_pass_arg", None), "name", "")
    given: Mapping[str, Callable[[Context], Any]] = {
        "context": lambda context: context,
        "eval_context": lambda context: context.eval_ctx,
        "environment": lambda context: context.environment,
    }

    @pass_context
    @wraps(function)
    def charged(context: Context, *arguments: Any, **named: Any) -> Any:
        work: Work = context[WORK]
        work.spend(_CALL + (reads * sum(map(weight, (*arguments, *named.values()))) if reads else 0))
        first = (given[wanted](context),) if wanted else ()
        result = function(*first, *arguments, **named)
        return made(result, work) if reads else result

    return charged


def made(value: Any, work: Work) -> Any:
    """What an operation gave: charged, or charged member by member where it is lazy."""
    if isinstance(value, GeneratorType | map | filter | reversed | zip):
        return _drawn(value, work)
    work.spend(weight(checked_length(value)))
    return value


def _drawn(items: Iterable[Any], work: Work) -> Iterator[Any]:
    for item in items:
        work.spend(_MEMBER)
        yield item


@pass_context
def weigh(context: Context, value: Any) -> Any:
    """The value itself, charged: an operand of a comparison."""
    if not isinstance(value, Undefined):
        context[WORK].spend(weight(value))
    return value
