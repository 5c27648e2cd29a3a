"""What tests of the command line share."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

Command = Callable[..., Awaitable[tuple[int, Any, str]]]
"""Arguments -> (exit code, parsed stdout, stderr)."""
