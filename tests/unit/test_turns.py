"""Tests that run side by side wait for each other where they say so."""

from __future__ import annotations

import fcntl
import threading
from pathlib import Path

import pytest

from tests.eventually import eventually
from tests.servers import free_port
from tests.turns import taking_turns


def is_free(lock: Path, how: int) -> bool:
    with lock.open("a") as file:
        try:
            fcntl.flock(file, how | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        return True


def may_enter(folder: Path) -> tuple[bool, bool]:
    """(Somebody who runs beside others, somebody alone)."""
    return is_free(folder / "room", fcntl.LOCK_SH), is_free(folder / "room", fcntl.LOCK_EX)


def test_those_without_a_mark_run_beside_each_other_and_who_is_alone_is_alone(tmp_path: Path) -> None:
    with taking_turns(tmp_path, alone=False):
        assert may_enter(tmp_path) == (True, False)
        with taking_turns(tmp_path, alone=False):
            assert may_enter(tmp_path) == (True, False)
    with taking_turns(tmp_path, alone=True):
        assert may_enter(tmp_path) == (False, False)
    assert may_enter(tmp_path) == (True, True)


def test_of_those_that_reach_for_the_same_thing_one_runs_at_a_time(tmp_path: Path) -> None:
    with taking_turns(tmp_path, alone=False, one_at_a_time=["ports", "a name"]):
        assert not is_free(tmp_path / "one-ports", fcntl.LOCK_EX)
        assert not is_free(tmp_path / "one-a name", fcntl.LOCK_EX)
        assert may_enter(tmp_path) == (True, False)
        with taking_turns(tmp_path, alone=False, one_at_a_time=["others"]):
            assert not is_free(tmp_path / "one-others", fcntl.LOCK_EX)
    assert is_free(tmp_path / "one-ports", fcntl.LOCK_EX)


def test_a_failure_gives_the_turn_back(tmp_path: Path) -> None:
    with pytest.raises(KeyError), taking_turns(tmp_path, alone=True, one_at_a_time=["ports"]):
        raise KeyError
    assert may_enter(tmp_path) == (True, True)
    assert is_free(tmp_path / "one-ports", fcntl.LOCK_EX)


async def test_who_waits_to_be_alone_is_not_overtaken(tmp_path: Path) -> None:
    entered: list[str] = []

    def take(name: str, alone: bool) -> None:
        with taking_turns(tmp_path, alone=alone):
            entered.append(name)

    waiting = [threading.Thread(target=take, args=("alone", True)), threading.Thread(target=take, args=("late", False))]
    with taking_turns(tmp_path, alone=False):
        waiting[0].start()
        await eventually(lambda: not is_free(tmp_path / "door", fcntl.LOCK_EX))
        waiting[1].start()
        assert entered == []
    for thread in waiting:
        thread.join()
    assert entered == ["alone", "late"]


def test_ports_come_from_below_those_of_outgoing_connections_and_none_twice() -> None:
    given = [free_port() for _ in range(200)]
    assert len(set(given)) == 200
    assert all(10_000 <= port < 32_768 for port in given)
