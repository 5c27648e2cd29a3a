"""How tests share a machine where several processes run them (`-n 2`).

`alone`: nothing else runs meanwhile, for tests that measure or load the machine. `one_at_a_time(what)`: never beside another test
of the same mark, for tests that reach for the same thing outside of their own folders and servers. Without `-n` both are true."""

from __future__ import annotations

import contextlib
import fcntl
import shutil
import tempfile
from collections.abc import Generator, Iterable, Iterator
from pathlib import Path
from typing import Any

import pytest

FOLDER = "turns"
"""Under this name a worker is told where the locks of its session are."""
_made = pytest.StashKey[str]()


@pytest.hookimpl(optionalhook=True)
def pytest_configure_node(node: Any) -> None:
    """In the process that hands out the tests, once for each worker."""
    stash: pytest.Stash = node.config.stash
    if _made not in stash:
        stash[_made] = tempfile.mkdtemp(prefix="evoline-turns-")
    node.workerinput[FOLDER] = stash[_made]


def pytest_unconfigure(config: pytest.Config) -> None:
    if _made in config.stash:
        shutil.rmtree(config.stash[_made], ignore_errors=True)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Those that run alone come first: in the end other workers would wait for them one by one."""
    items.sort(key=lambda item: not _is_alone(item))


@pytest.hookimpl(wrapper=True, tryfirst=True)  # around everything else, so that a test's time-out counts from its turn on
def pytest_runtest_protocol(item: pytest.Item) -> Generator[None, object, object]:
    folder = getattr(item.config, "workerinput", {}).get(FOLDER)
    if folder is None:
        return (yield)
    shared = [str(mark.args[0]) for mark in item.iter_markers("one_at_a_time")]
    with taking_turns(Path(folder), alone=_is_alone(item), one_at_a_time=shared):
        return (yield)


def _is_alone(item: pytest.Item) -> bool:
    return item.get_closest_marker("alone") is not None


@contextlib.contextmanager
def taking_turns(folder: Path, *, alone: bool, one_at_a_time: Iterable[str] = ()) -> Iterator[None]:
    with contextlib.ExitStack() as held:
        for what in sorted(set(one_at_a_time)):
            _lock(held, folder / f"one-{what}", fcntl.LOCK_EX)
        with contextlib.ExitStack() as door:
            # Who waits to be alone holds the door, so that nobody else comes in meanwhile.
            _lock(door, folder / "door", fcntl.LOCK_EX)
            _lock(held, folder / "room", fcntl.LOCK_EX if alone else fcntl.LOCK_SH)
        yield


def _lock(held: contextlib.ExitStack, path: Path, how: int) -> None:
    """Until `held` is left; the lock goes with its process, however that ends."""
    fcntl.flock(held.enter_context(path.open("a")), how)
