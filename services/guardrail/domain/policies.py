"""What the store keeps of policies: every version for good, and which one is in force."""

from __future__ import annotations

import hashlib
import json
from typing import Any, Literal

from pydantic import Field

from services.guardrail.domain.descent import Record
from services.guardrail.domain.policy import Policy
from shared.events.values import Attestation

PolicySource = Literal["file", "change"]
REMEMBERED_CAUSES = 50
KEPT_PREVIOUS = 50
SIGNED_DAYS = 36_500
"""What is in force stays in force until something else is."""


class PolicyRecord(Record):
    """One version, named by `revision`, the SHA-256 of its content."""

    revision: str
    policy: str
    version: int
    document: dict[str, Any]
    source: PolicySource
    change_id: str = ""
    author: str = ""
    approved_by: str = ""
    created_at: str

    @classmethod
    def of(cls, policy: Policy, **fields: Any) -> PolicyRecord:
        document = policy.document
        return cls(revision=policy.revision, policy=document.policy, version=document.version, document=policy.content, **fields)


class ActivePolicy(Record):
    """Which version is in force. Every change of it is one compare-and-set on `generation`, and signed by the guardrail: who can
    write to the store cannot activate anything with that."""

    revision: str
    policy: str
    source: PolicySource
    generation: int = 1
    previous: tuple[str, ...] = ()
    """Former ones, newest last."""
    causes: dict[str, int] = Field(default_factory=dict)
    """Change id -> generation that it made; the latest ones, so that a repeat is recognised."""
    updated_at: str
    attestation: Attestation | None = None

    @property
    def digest(self) -> str:
        """What the signature covers."""
        content = {"revision": self.revision, "policy": self.policy, "source": self.source, "generation": self.generation}
        return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()


def followed(
    now: ActivePolicy | None, policy: Policy, source: PolicySource, cause: str, at: str, *, after: int = 0
) -> ActivePolicy:
    """What is in force after `policy` is activated because of `cause`, in a generation above `after`; unsigned."""
    generation = max(now.generation if now else 0, after) + 1
    causes = dict(list(now.causes.items())[-(REMEMBERED_CAUSES - 1) :]) if now else {}
    previous = (*(each for each in now.previous if each != policy.revision), now.revision) if now else ()
    return ActivePolicy(
        revision=policy.revision,
        policy=policy.document.policy,
        source=source,
        generation=generation,
        previous=previous[-KEPT_PREVIOUS:],
        causes={**causes, cause: generation},
        updated_at=at,
    )
