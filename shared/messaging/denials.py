"""Tells whoever waits for the broker that it said no.

The broker answers a publish or subscription that the user may not do with an error beside the protocol: the caller would learn of
it by a time-out. `watched` ends the wait at once, with the reason.
"""

from __future__ import annotations

import asyncio
import re
from types import TracebackType
from typing import Self

from shared.errors import UnavailableError

_DENIAL = re.compile(r'permissions violation for (publish|subscription) to "([^"]*)"', re.IGNORECASE)
_WORDS = {"publish": "publish", "subscription": "subscribe to"}


class DeniedError(UnavailableError):
    """The broker's permissions do not let this user do that. It may succeed once they are changed."""

    code = "denied"

    def __init__(self, user: str, act: str, subject: str) -> None:
        who = f"user {user!r}" if user else "a client without a user"
        super().__init__(
            f"{who} may not {act} {subject}: the broker's permissions are made from shared/messaging/topology.py "
            "(see `evoline bus permissions`); if it is right, this process has another's credentials, or the broker an older table"
        )


class Denials:
    """Of one connection. `note` hears every error of it."""

    def __init__(self, user: str) -> None:
        self._user = user
        self._watches: set[Watch] = set()
        self.subscriptions: list[str] = []
        """Subjects that may not be subscribed; nobody waits for these."""

    def note(self, error: BaseException) -> bool:
        """Whether it was a denial. The client's parser writes subjects small."""
        match = _DENIAL.search(str(error))
        if match is None:
            return False
        act, subject = match.group(1).lower(), match.group(2)
        if act == "subscription":
            self.subscriptions.append(subject)
        for watch in tuple(self._watches):
            watch.hear(act, subject)
        return True

    def error(self, act: str, subject: str) -> DeniedError:
        return DeniedError(self._user, _WORDS.get(act, act), subject)

    def watched(self, *subjects: str) -> Watch:
        """`with denials.watched(subject): await ...` raises DeniedError once the broker denies one of `subjects`."""
        return Watch(self, self._watches, subjects)


class Watch:
    """Ends what its task waits for, as `asyncio.timeout` does, but for a denial: it costs no task and no timer."""

    def __init__(self, denials: Denials, others: set[Watch], subjects: tuple[str, ...]) -> None:
        self._denials = denials
        self._others = others
        self._subjects = {subject.lower(): subject for subject in subjects}
        self._denied: DeniedError | None = None

    def __enter__(self) -> Self:
        self._task = asyncio.current_task()
        self._others.add(self)
        return self

    def hear(self, act: str, subject: str) -> None:
        if self._denied is None and subject.lower() in self._subjects and self._task is not None:
            self._denied = self._denials.error(act, self._subjects[subject.lower()])
            self._task.cancel()

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._others.discard(self)
        if self._denied is None or self._task is None:
            return
        asked_by_others = self._task.uncancel()
        if asked_by_others == 0 or kind is not asyncio.CancelledError:
            raise self._denied from None
