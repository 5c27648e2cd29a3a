"""A denial ends the wait of whoever waits for that subject, and of nobody else."""

from __future__ import annotations

import asyncio

import pytest

from shared.messaging.denials import Denials, DeniedError


def denial(subject: str, act: str = "Publish") -> Exception:
    return Exception(f'nats: permissions violation for {act.lower()} to "{subject.lower()}"')


async def waiting(denials: Denials, *subjects: str) -> str:
    with denials.watched(*subjects):
        await asyncio.sleep(30)
    return "waited"


async def test_only_the_one_that_waits_for_the_subject_is_told() -> None:
    denials = Denials("learner")
    mine = asyncio.create_task(waiting(denials, "evt.Change.approved", "$JS.API.INFO"))
    other = asyncio.create_task(waiting(denials, "evt.change.vetoed"))
    await asyncio.sleep(0)
    assert denials.note(denial("evt.change.approved"))
    with pytest.raises(DeniedError, match=r"user 'learner' may not publish evt\.Change\.approved"):
        await mine
    assert mine.cancelling() == 0 and not other.done()
    other.cancel()
    with pytest.raises(asyncio.CancelledError):
        await other


async def test_a_cancellation_from_outside_stays_one() -> None:
    denials = Denials("learner")
    task = asyncio.create_task(waiting(denials, "evt.a"))
    await asyncio.sleep(0)
    denials.note(denial("evt.a"))
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


async def test_the_task_goes_on_after_a_denial() -> None:
    denials = Denials("")

    async def tries() -> str:
        with pytest.raises(DeniedError, match="a client without a user"):
            await waiting(denials, "evt.a")
        await asyncio.sleep(0)
        return "went on"

    task = asyncio.create_task(tries())
    await asyncio.sleep(0)
    denials.note(denial("evt.a"))
    assert await task == "went on"


def test_subscriptions_are_kept_and_other_errors_are_none() -> None:
    denials = Denials("learner")
    assert denials.note(Exception('nats: permissions violation for subscription to "api.x" using queue "learner"'))
    assert denials.subscriptions == ["api.x"]
    assert not denials.note(Exception("nats: stale connection"))
