"""`file_ops`: files of the run's own workspace."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal

from pydantic import Field, model_validator

from shared.errors import InvalidInputError, Problem
from shared.pipeline.document import Step
from shared.pipeline.functions.json_text import read_json
from shared.pipeline.step import StepContext, StepResult
from shared.pipeline.steps import workspace
from shared.pipeline.steps.answers import Tally
from shared.pipeline.steps.base import BaseStepType, Options, templates_in
from shared.pipeline.template_text import as_text

MAX_BYTES = 10 * 1024 * 1024


class FileOpsOptions(Options):
    operation: Literal["read", "write", "list", "copy"]
    path: str = "."
    """Relative to the workspace; may be a template. A folder for `list`, else a file."""
    content: Any = None
    """For `write`: text as it is, everything else as JSON."""
    to: str | None = None
    """For `copy`."""
    format: Literal["text", "json"] = "text"
    """How `read` reads."""
    max_bytes: int = Field(default=MAX_BYTES, ge=1, le=64 * 1024 * 1024)

    @model_validator(mode="after")
    def _fits(self) -> FileOpsOptions:
        if (self.operation == "copy") != (self.to is not None):
            raise ValueError("`to` belongs to `copy`, and `copy` needs it")
        if (self.operation == "write") != (self.content is not None):
            raise ValueError("`content` belongs to `write`, and `write` needs it")
        if self.operation != "list" and self.path in ("", "."):
            raise ValueError(f"`{self.operation}` needs the path of a file")
        return self


class FileOpsStep(BaseStepType):
    """Value: content (read), path (write, copy), sorted paths (list)."""

    type_names = ("file_ops",)
    options = FileOpsOptions

    def problems(self, step: Step) -> tuple[Problem, ...]:
        """A path that is written out and leaves the workspace; what a template gives is refused when it is known."""
        return (*super().problems(step), *(_leaving(step.options) if isinstance(step.options, FileOpsOptions) else ()))

    async def run(self, step: Step, options: FileOpsOptions, context: StepContext) -> StepResult:
        tally = Tally(context)
        path, target = (as_text(context.render(each or "")) for each in (options.path, options.to))
        content = context.render(options.content)
        value = await asyncio.to_thread(_operate, options, context.workspace, path, target, content)
        return StepResult(value=value, text=as_text(value), latency_seconds=tally.elapsed_seconds)


def _operate(options: FileOpsOptions, folder: Path, path: str, target: str, content: Any) -> Any:
    if options.operation == "list":
        return workspace.list_files(folder, path)
    if options.operation == "read":
        return _read(options, folder, path)
    data = as_text(content).encode() if options.operation == "write" else workspace.read_bytes(folder, path, options.max_bytes)
    written = path if options.operation == "write" else target
    workspace.write_bytes(folder, written, data, options.max_bytes)
    return "/".join(workspace.parts_of(written))


def _read(options: FileOpsOptions, folder: Path, path: str) -> Any:
    data = workspace.read_bytes(folder, path, options.max_bytes)
    try:
        text = data.decode()
        return text if options.format == "text" else read_json(text)[0]
    except UnicodeDecodeError as error:
        raise InvalidInputError(f"file {path!r} is not UTF-8 text") from error
    except ValueError as error:
        raise InvalidInputError(f"file {path!r} is not JSON: {error}") from error


def _leaving(options: FileOpsOptions) -> Iterator[Problem]:
    for key, path in (("path", options.path), ("to", options.to)):
        if path and not any(templates_in(path)):
            try:
                workspace.parts_of(path)
            except InvalidInputError as error:
                suggestion = "write a path inside the run's workspace, as `notes/answer.txt`"
                yield Problem(path=key, reason=error.problems[0].reason, suggestion=suggestion)
