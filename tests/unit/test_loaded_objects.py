from __future__ import annotations

import gc

from shared.service import keep_loaded_objects


def test_what_is_loaded_is_walked_over_no_more_and_what_comes_later_is() -> None:
    try:
        keep_loaded_objects()
        kept, later = gc.get_freeze_count(), [[1], [2]]
        assert kept > 10_000
        assert any(each is later for each in gc.get_objects())
        assert not any(each is gc for each in gc.get_objects())
    finally:
        gc.unfreeze()
