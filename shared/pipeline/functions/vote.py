"""`vote`: the value that most answers agree on (self-consistency, k nearest neighbours)."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from typing import Any

from shared.errors import InvalidInputError
from shared.pipeline.functions.spec import FunctionSpec, parameters

MAX_VALUES = 10_000


def vote(
    values: Sequence[Any],
    key: str | None = None,
    weight: str | None = None,
    tie: str = "first",
    *,
    normalize: bool = True,
    default: Any = None,
) -> dict[str, Any]:
    """`{winner, share, votes, tied}`. `key` and `weight` name fields of values that are maps; null votes do not count.

    `share` is the winner's part of all weight; `votes` is the number of votes that counted. Sums are exact (`fsum`), so the
    order of values decides nothing but the tie rule."""
    weights: dict[str, list[float]] = {}
    shown: dict[str, Any] = {}
    for value in values:
        ballot = value if key is None else _field(value, key)
        if ballot is None:
            continue
        identity = _identity(ballot, normalize=normalize)
        shown.setdefault(identity, ballot)
        weights.setdefault(identity, []).append(1.0 if weight is None else _weight(value, weight))
    totals = {identity: math.fsum(each) for identity, each in weights.items()}
    everything = math.fsum(totals.values())
    if not everything:
        return {"winner": default, "share": 0.0, "votes": 0, "tied": False}
    most = max(totals.values())
    leaders = [identity for identity, total in totals.items() if math.isclose(total, most, rel_tol=1e-9)]
    winner = _broken(leaders, tie)
    return {
        "winner": default if winner is None else shown[winner],
        "share": round(most / everything, 6),
        "votes": sum(map(len, weights.values())),
        "tied": len(leaders) > 1,
    }


def _broken(leaders: list[str], tie: str) -> str | None:
    if len(leaders) == 1 or tie == "first":
        return leaders[0]
    return {"last": leaders[-1], "smallest": min(leaders)}.get(tie)


def _identity(value: Any, *, normalize: bool) -> str:
    """Canonical JSON: true and 1 are different votes; texts may differ in case and spaces only."""
    text = " ".join(value.split()).casefold() if normalize and isinstance(value, str) else value
    return json.dumps(text, sort_keys=True, ensure_ascii=False)


def _field(value: Any, name: str) -> Any:
    if not isinstance(value, dict):
        raise InvalidInputError(f"vote: `key` and `weight` need maps, but there is {type(value).__name__}")
    return value.get(name)


def _weight(value: Any, name: str) -> float:
    number = _field(value, name)
    if isinstance(number, bool) or not isinstance(number, int | float) or not math.isfinite(number) or number < 0:
        raise InvalidInputError(f"vote: weight `{name}` must be a number of at least 0, not {number!r}")
    return float(number)


VOTE = FunctionSpec(
    name="vote",
    description="Majority of values, or of one of their fields weighted by another. Gives winner, share, votes, tied.",
    parameters=parameters(
        {"values": {"type": "array", "maxItems": MAX_VALUES}},
        {
            "key": {"type": "string", "description": "Field that is voted on, where values are maps."},
            "weight": {"type": "string", "description": "Field that weighs each vote; without it every vote counts 1."},
            "tie": {
                "enum": ["first", "last", "smallest", "none"],
                "default": "first",
                "description": "Who wins a tie; none: `default`.",
            },
            "normalize": {"type": "boolean", "default": True, "description": "Texts count as equal regardless of case and spaces."},
            "default": {"description": "Winner where nobody voted, or on a tie with `none`."},
        },
    ),
    cost_class="free",
    pure=vote,
)
