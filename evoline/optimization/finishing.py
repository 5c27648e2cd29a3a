"""Running an optimisation to its end, from a plain script as from inside an event loop, and ending it when its caller is."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Coroutine
from concurrent.futures import Future, wait
from contextlib import suppress
from functools import partial
from typing import Any

from evoline.optimization.outcome import Outcome

Work = Coroutine[Any, Any, Outcome]


def finished(work: Work) -> Outcome:
    """Raises `KeyboardInterrupt` once the work has ended too: nothing goes on to be paid for."""
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return asyncio.run(work)
    return _Beside(work).finished()


class _Beside:
    """In a thread of its own, for a caller who sits in an event loop already, as in a notebook."""

    def __init__(self, work: Work) -> None:
        self._work = work
        self._begun = threading.Event()
        self._cancel: Callable[[], object] = lambda: None
        self._ended: Future[Outcome] = Future()  # `Thread.join` that was interrupted once takes a living thread for a dead one

    def finished(self) -> Outcome:
        thread = threading.Thread(target=self._run, name="evoline-optimize")
        try:
            thread.start()
            return self._ended.result()
        except BaseException:
            self._stop()
            raise
        finally:
            thread.join()

    def _stop(self) -> None:
        self._begun.wait()
        with suppress(RuntimeError):  # its loop is closed: it has ended by itself
            self._cancel()
        wait((self._ended,))

    def _run(self) -> None:
        try:
            self._ended.set_result(asyncio.run(self._told()))
        except BaseException as error:  # handed to the caller's thread
            self._ended.set_exception(error)
        finally:
            self._begun.set()

    async def _told(self) -> Outcome:
        task = asyncio.current_task()
        assert task is not None
        self._cancel = partial(asyncio.get_running_loop().call_soon_threadsafe, task.cancel)
        self._begun.set()
        return await self._work
