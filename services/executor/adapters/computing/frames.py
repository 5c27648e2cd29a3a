"""What an executor and its children say to each other over pipes: a header of fixed length, then JSON."""

from __future__ import annotations

import struct
from collections.abc import Mapping
from typing import Any

from shared.errors import EvolineError, InvalidInputError, LimitReachedError, NotFoundError, PermanentError, Problem, StepLimitError

REQUEST = struct.Struct(">QdQQ")
"""Bytes of the body, CPU seconds, bytes of memory above what the child holds already, bytes of the answer."""
ANSWER = struct.Struct(">Q?")
"""Bytes of the body; whether the child holds so much memory by now that another one should take its place."""
MEBIBYTE = 1024 * 1024


class ComputationError(PermanentError):
    """A computation that went down without saying what is wrong with its input: a fault of the program, or a killed process."""

    code = "computation_failed"


def described(error: BaseException) -> dict[str, Any]:
    """JSON form of what a computation raised."""
    if not isinstance(error, EvolineError):
        return {"code": ComputationError.code, "message": f"{type(error).__name__}: {error}"[:2000]}
    problems = [problem.model_dump() for problem in error.problems[:100]] if isinstance(error, InvalidInputError) else []
    limit = error.limit if isinstance(error, LimitReachedError | StepLimitError) else ""
    return {"code": error.code, "message": str(error)[:4000], "problems": problems, "limit": limit}


def error_from(described: Mapping[str, Any]) -> EvolineError:
    code, message, limit = described["code"], described["message"], described.get("limit", "")
    if code == InvalidInputError.code and described.get("problems"):
        return InvalidInputError([Problem.model_validate(problem) for problem in described["problems"]])
    if code == LimitReachedError.code:
        return LimitReachedError(limit, message)
    if code == StepLimitError.code:
        return StepLimitError(limit, message)
    if code == NotFoundError.code:
        return NotFoundError(message)
    return InvalidInputError(message) if code == InvalidInputError.code else ComputationError(message)
