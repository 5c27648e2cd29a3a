"""Orders about a run that was begun before."""

from __future__ import annotations

from typing import Any, ClassVar

from pydantic import Field

from shared.events.message import Command
from shared.events.values import Identifier, PipelineReference


class CancelRun(Command):
    """Stops a run; in-flight provider calls are aborted. A finished run stays as it is."""

    subject: ClassVar[str] = "cmd.executor.cancel"
    owner: ClassVar[str] = "executor"

    run_id: Identifier
    author: Identifier = "anonymous"
    reason: str = Field(default="", max_length=2000)


class PauseRun(Command):
    """Suspends a run before its next step; a step that takes long is cut off and executed again later. A run that did not start
    yet is paused when it does."""

    subject: ClassVar[str] = "cmd.executor.pause"
    owner: ClassVar[str] = "executor"

    run_id: Identifier
    author: Identifier = "anonymous"
    reason: str = Field(default="", max_length=2000)


class ResumeRun(Command):
    """Goes on with a paused run, or at once with one that waits. Refused for any other."""

    subject: ClassVar[str] = "cmd.executor.resume"
    owner: ClassVar[str] = "executor"

    run_id: Identifier
    author: Identifier = "anonymous"
    reason: str = Field(default="", max_length=2000)


class RetryRun(Command):
    """Goes on with a run that ended without success, from the step that failed; finished steps are kept. Its time starts anew,
    what it used before counts. Refused for a run that goes on or succeeded."""

    subject: ClassVar[str] = "cmd.executor.retry"
    owner: ClassVar[str] = "executor"

    run_id: Identifier
    author: Identifier = "anonymous"
    reason: str = Field(default="", max_length=2000)


class ForkRun(Command):
    """A new run that takes over what another one finished before `from_step`, perhaps on other inputs or another revision.

    Refused where a step that would be taken over is another one in that revision."""

    subject: ClassVar[str] = "cmd.executor.fork"
    owner: ClassVar[str] = "executor"

    run_id: Identifier
    """The run that is forked."""
    new_run_id: Identifier
    from_step: str = Field(default="", max_length=63)
    """Name of a top-level step; empty: the first one that did not finish."""
    inputs: dict[str, Any] = Field(default_factory=dict)
    """Replace inputs of the same name."""
    pipeline: PipelineReference | None = None
    """Another revision, as `NAME@DIGEST`; None keeps the one that was run."""
    author: Identifier = "anonymous"
    reason: str = Field(default="", max_length=2000)
