"""Answers as they come: whoever answers may be broken, or be somebody else. What cannot be read is an error that says so."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from shared.errors import EvolineError, UnavailableError
from shared.events.message import Query

_UNREADABLE = (ValueError, TypeError, LookupError, AttributeError, ArithmeticError, RecursionError)
"""A `ValidationError` is a `ValueError`."""


class Answered(dict[str, Any]):
    """An answer's data. A field that is not in it is the answerer's fault, not ours."""

    def __init__(self, data: Mapping[str, Any], subject: str) -> None:
        super().__init__(data)
        self.subject = subject

    def __missing__(self, field: str) -> Any:
        raise malformed(self.subject, f"it has no `{field}`")


@contextmanager
def reading(query: type[Query] | Query) -> Iterator[None]:
    """Raises `UnavailableError` for whatever goes wrong while the answer to `query` is taken apart."""
    try:
        yield
    except EvolineError:
        raise
    except _UNREADABLE as error:
        said = " ".join(str(error).split())[:300]
        raise malformed(query.subject, f"{type(error).__name__}: {said}") from error


def malformed(subject: str, reason: str) -> UnavailableError:
    """Another answer may be good: whoever asked in a handler asks again later, nothing is done until then."""
    return UnavailableError(
        f"the answer to {subject} is not one that can be used: {reason}; nothing was done with it. Look at who answers: the "
        f"service's version, and whether it is alone (`evoline status`)"
    )
