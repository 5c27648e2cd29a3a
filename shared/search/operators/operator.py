"""What an operator is: a small seeded edit of a document."""

from __future__ import annotations

import random
from collections.abc import Mapping
from typing import Any, ClassVar, Protocol

from shared.search.candidates import OperatorContext, Proposal


class Operator(Protocol):
    """Pure and seeded. What it returns is validated by the caller, so an operator need not know every rule of the language."""

    name: ClassVar[str]
    weight: ClassVar[float]
    """Prior weight for bandit and mutation; 1 is usual."""

    def apply(self, document: Mapping[str, Any], context: OperatorContext, generator: random.Random) -> Proposal | None:
        """A changed copy, or None where there is nothing to change here."""
        ...
