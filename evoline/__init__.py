"""What a user imports and types: the client library, the `evoline` command, the local stack, and `optimize` without any service."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from evoline.optimization import Outcome, optimize

__all__ = ["Outcome", "optimize"]


def __getattr__(name: str) -> Any:
    """Loaded at first use: the command line must not pay for a search that it does not do."""
    if name in __all__:
        from evoline import optimization

        return getattr(optimization, name)
    raise AttributeError(f"module 'evoline' has no attribute {name!r}")
