"""Ctrl-C ends a search: nothing is evaluated after it, wherever the call was made."""

from __future__ import annotations

import asyncio
import signal
import threading
from typing import Any

import pytest

from evoline import optimize
from tests.fakes.planted_task import SEED, SPLITS, Evaluator

BUDGET = 300
PRESSED_AT = 20
ARGUMENTS: dict[str, Any] = {**SPLITS, "budget": BUDGET}


class Impatient:
    """Has Ctrl-C pressed in the main thread at one evaluation; later ones leave it time to be heard."""

    def __init__(self) -> None:
        self.asked = 0
        self.inner = Evaluator()
        self.heard = threading.Event()

    def __call__(self, candidate: Any, case: Any) -> Any:
        self.asked += 1
        if self.asked == PRESSED_AT:
            signal.pthread_kill(threading.main_thread().ident or 0, signal.SIGINT)
        if self.asked > PRESSED_AT:
            self.heard.wait(0.02)
        return self.inner(candidate, case)


def interrupted() -> Impatient:
    evaluate = Impatient()
    with pytest.raises(KeyboardInterrupt):
        optimize(SEED, evaluate, **ARGUMENTS)
    assert not [thread for thread in threading.enumerate() if thread.name == "evoline-optimize"], "a search goes on"
    return evaluate


def test_an_interrupted_search_of_a_script_ends_with_the_evaluation_under_way() -> None:
    assert interrupted().asked == PRESSED_AT


def test_an_interrupted_search_of_a_notebook_does_not_go_on_beside_it() -> None:
    async def cell() -> Impatient:
        return interrupted()

    loop = asyncio.new_event_loop()  # `asyncio.run` would take Ctrl-C for itself, which a notebook's loop does not
    try:
        assert loop.run_until_complete(cell()).asked < BUDGET // 2
    finally:
        loop.close()
