from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from shared.errors import InvalidInputError
from shared.evidence.assignment import BUCKETS, RAMP, assign_arm, bucket_of, comparison_shares
from shared.evidence.sample_ratio import sample_ratio

NAMES = st.text(min_size=1, max_size=40)


@given(NAMES, NAMES)
def test_a_step_up_moves_no_unit_between_arms_and_a_step_back_restores_every_one(salt: str, unit: str) -> None:
    up = [assign_arm(salt, unit, share) for share in RAMP]
    assert up[-1] == "canary"
    for now, then in pairwise(up[:-1]):
        assert now == "outside" or then == now
    assert "canary" not in up or set(up[up.index("canary") :]) == {"canary"}
    assert [assign_arm(salt, unit, share) for share in reversed(RAMP)] == up[::-1]


@given(NAMES, NAMES, st.floats(0, 1), st.floats(0, 1))
def test_any_larger_share_keeps_the_canary_and_below_half_the_control(salt: str, unit: str, one: float, other: float) -> None:
    low, high = sorted((one, other))
    before, after = assign_arm(salt, unit, low), assign_arm(salt, unit, high)
    assert before != "canary" or after == "canary"
    assert before != "control" or after == "control" or high > 0.5


def test_arms_are_the_same_after_a_restart_on_any_machine() -> None:
    buckets = [bucket_of("rollout-1", f"unit-{number}") for number in range(5)]
    assert buckets == FROZEN


FROZEN = [9312, 2180, 8605, 6202, 7479]
"""As first computed: a changed hash would move every running rollout's units."""


def test_many_units_fill_the_buckets_evenly() -> None:
    counts = np.bincount([bucket_of("salt", str(number)) for number in range(300_000)], minlength=BUCKETS)
    assert len(counts) == BUCKETS
    assert stats.chisquare(counts).pvalue > 0.001


def test_another_salt_shuffles_anew() -> None:
    both = np.zeros((2, 2))
    for number in range(20_000):
        both[bucket_of("first", str(number)) < 2000, bucket_of("second", str(number)) < 2000] += 1
    assert stats.chi2_contingency(both).pvalue > 0.001


@pytest.mark.parametrize("share", [*RAMP[:-1], 0.8])
def test_arms_have_the_shares_that_the_sample_ratio_expects(share: float) -> None:
    arms = [assign_arm("salt", str(number), share) for number in range(50_000)]
    counts = [arms.count("canary"), arms.count("control")]
    assert sample_ratio(counts, comparison_shares(share)).outcome == "ok"
    assert counts[0] == pytest.approx(share * 50_000, rel=0.15)


def test_ends_of_the_ramp_and_impossible_shares() -> None:
    assert {assign_arm("s", str(n), 0.0) for n in range(50)} == {"outside"}
    assert comparison_shares(1.0) == (1.0, 0.0)
    for share in (-0.1, 1.1, float("nan")):
        with pytest.raises(InvalidInputError):
            assign_arm("s", "u", share)
