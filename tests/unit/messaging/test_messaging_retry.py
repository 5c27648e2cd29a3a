from __future__ import annotations

import random

from shared.messaging.retry import RetryPolicy


def test_delay_doubles_with_jitter_up_to_its_bound() -> None:
    policy, rng = RetryPolicy(initial_seconds=1.0, max_seconds=8.0), random.Random(7)
    for attempt, ceiling in ((1, 1.0), (2, 2.0), (3, 4.0), (4, 8.0), (9, 8.0), (10_000, 8.0)):
        delays = {policy.delay_seconds(attempt, rng) for _ in range(200)}
        assert ceiling / 2 <= min(delays) < max(delays) <= ceiling
        assert len(delays) > 100


def test_wish_of_the_other_side_is_never_undercut() -> None:
    assert RetryPolicy().delay_seconds(1, random.Random(1), wished_seconds=45.0) == 45.0


def test_transient_errors_are_borne_longer_than_unknown_ones() -> None:
    policy = RetryPolicy(max_attempts=3, transient_attempts=10)
    assert [policy.is_last(attempt, transient=False) for attempt in (2, 3)] == [False, True]
    assert [policy.is_last(attempt, transient=True) for attempt in (9, 10)] == [False, True]


def test_transient_limit_is_never_below_the_general_one() -> None:
    assert not RetryPolicy(max_attempts=200).is_last(199, transient=True)
