"""Calls in flight are spread over clients with connections of their own."""

from __future__ import annotations

import contextlib
import itertools

import pytest

from shared.llm.spreading import Spreading


def test_clients_are_made_when_the_others_are_full_and_used_again() -> None:
    numbers = itertools.count()
    spreading = Spreading(lambda: next(numbers), calls_a_client=2)
    with contextlib.ExitStack() as calls:
        taken = [calls.enter_context(spreading.client()) for _ in range(5)]
    assert taken == [0, 0, 1, 1, 2]
    with spreading.client() as one, spreading.client() as other:
        assert (one, other) == (0, 0)
    assert spreading.clients == [0, 1, 2]


def test_a_failed_call_gives_its_place_back() -> None:
    spreading = Spreading(object, calls_a_client=1)
    for _ in range(3):
        with pytest.raises(ValueError, match="broken"), spreading.client():
            raise ValueError("broken")
    assert len(spreading.clients) == 1
