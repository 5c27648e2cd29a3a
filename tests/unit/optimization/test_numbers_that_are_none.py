"""What no float can hold, or no text can show, is a failed evaluation and never the end of a search."""

from __future__ import annotations

from typing import Any

import pytest

from evoline.optimization.measuring import checked

HUGE = 10**5000


class Unwritable:
    def __repr__(self) -> str:
        raise RuntimeError("no text")


@pytest.mark.parametrize(
    "answer",
    [10**400, -(10**400), HUGE, Unwritable(), (0.5, "", {"tokens": 10**400}), (0.5, "", {HUGE: 1}), (0.5, "", {"seconds": HUGE})],
    ids=["large", "negative", "huge", "unwritable", "many tokens", "odd name", "many seconds"],
)
def test_a_number_beyond_all_floats_is_a_failed_evaluation(answer: Any) -> None:
    measured = checked(answer)
    assert measured.grade is None and "evaluate gave" in measured.feedback


def test_whole_numbers_within_bounds_are_scores() -> None:
    assert (checked(1).grade, checked(0).grade, checked((1, "", {"tokens": 10**6})).use) == (1.0, 0.0, {"tokens": 1e6})
