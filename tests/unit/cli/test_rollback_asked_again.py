from __future__ import annotations

from datetime import UTC, datetime, timedelta

from evoline.cli.reviews import SAME_INCIDENT_SECONDS, is_long_ago

NOW = datetime(2026, 11, 26, 12, 0, tzinfo=UTC)


def test_a_rollback_of_another_day_is_not_the_one_that_is_asked_for() -> None:
    just_now, long_ago = (NOW - timedelta(seconds=SAME_INCIDENT_SECONDS + each) for each in (-1, 1))
    assert not is_long_ago(just_now.isoformat(), NOW)
    assert is_long_ago(long_ago.isoformat(), NOW)
