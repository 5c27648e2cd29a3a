"""Signed questions: who asks is proved by the same signature as a command's.

A question has no id of its own. Signed in its place is the subject that the answer goes to, which is made for this one question and
which the broker lets only its asker read: a copy of a signed question, sent by whoever may ask, is answered to the one who signed
it. `FRESH_QUESTION` bounds for how long a copy is answered at all; what is asked is done once under the ids in the body."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta

from nats.aio.client import Client
from nats.aio.msg import Msg
from nats.errors import BadSubscriptionError, ConnectionClosedError, ConnectionDrainingError, NoRespondersError

from shared.identity import MessageSigner, Registry, Signature
from shared.identity.signing import check_signature

FRESH_QUESTION = timedelta(minutes=2)
"""Answered at once, or not at all; this is for clocks that differ."""
_NO_RESPONDERS = "503"


@dataclass(frozen=True)
class Asker:
    """A connection, and who asks over it."""

    client: Client
    signer: MessageSigner

    async def request(self, subject: str, body: bytes, fields: Mapping[str, str], now: datetime, timeout_seconds: float) -> Msg:
        """As the client's, with a signature. Raises what that raises."""
        inbox = self.client.new_inbox()
        subscription = await self.client.subscribe(inbox)
        try:
            await self.client.publish(subject, body, reply=inbox, headers={**fields, **self.signer.sign(subject, inbox, body, now)})
            answer = await subscription.next_msg(timeout=timeout_seconds)
        finally:
            # A connection that is being closed ends the subscription itself; an answer that came is one all the same.
            with contextlib.suppress(ConnectionClosedError, ConnectionDrainingError, BadSubscriptionError):
                await subscription.unsubscribe()
        if (answer.headers or {}).get("Status") == _NO_RESPONDERS:
            raise NoRespondersError
        return answer


def signature_of(question: Msg, registry: Registry, now: datetime) -> Signature:
    """Never raises. `now`: of the clock of whoever is asked."""
    return check_signature(
        question.headers or {},
        subject=question.subject,
        message_id=question.reply,
        body=question.data,
        stored_at=now,
        registry=registry,
        fresh=FRESH_QUESTION,
    )
