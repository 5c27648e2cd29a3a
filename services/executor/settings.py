"""Settings of the executor: `EVOLINE_EXECUTOR_<FIELD>`."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Literal

from pydantic import Field
from pydantic_settings import BaseSettings, SettingsConfigDict


class ExecutorSettings(BaseSettings):
    model_config = SettingsConfigDict(env_prefix="EVOLINE_EXECUTOR_", frozen=True, extra="ignore")

    id: str = ""
    """Name of this executor in run documents and facts; empty makes one of host and process."""
    concurrency: int = Field(default=8, ge=1, le=1000)
    """Runs at the same time in one executor."""
    ack_wait_seconds: float = Field(default=6.0, gt=0)
    """How long a silent executor keeps its runs; then another takes them over."""
    cancel_poll_seconds: float = Field(default=0.4, gt=0)
    """How often an executor that runs something looks for requests to stop it."""
    pause_grace_seconds: float = Field(default=5.0, ge=0)
    """How long a step may go on after its run was to pause; then it is cut off, and executed again later."""
    park_after_seconds: float = Field(default=15.0, gt=0)
    """A longer wait for another attempt at a step frees the run's place; a timer of the broker sets it going again."""
    max_takeovers: int = Field(default=8, ge=1)
    """After so many lost owners a run ends as failed: it may be what kills them."""
    preset: Literal["development", "production", "analysis", "chat", "test"] = "production"
    """Of `claude_smart` steps that name none."""
    answer_tokens: int | None = Field(default=None, ge=1, le=1_000_000)
    """Most tokens of an answer where neither step nor document says it; None: 512, or the preset's. A small local model that
    writes a few dozen tokens a second needs less, or steps end by their time-out."""
    answer_seconds: float | None = Field(default=None, gt=0, le=86_400)
    """How long one answer may take where neither step nor document says it; None: 60."""
    compute_processes: int = Field(default=2, ge=1, le=64)
    """Child processes for functions and data transformations; each is started when it is first needed and holds about 35 MB."""
    compute_wall_seconds: float = Field(default=60.0, gt=0)
    """The longest that one computation may take, whatever its CPU seconds."""
    limits_file: Path | None = None
    """JSON file with what the providers allow all executors together (docs/models.md); none: no limits of the fleet."""
    quota_tell_seconds: float = Field(default=15.0, gt=0)
    """How often the guardrail is told what production runs used, and is given back what they did not."""
    workspace_dir: Path = Path(tempfile.gettempdir()) / "evoline-workspaces"
    """Folder for the runs' own files; removed when a run ends."""
