"""The guardrail's key, and what it signs."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from shared.attestation import Verifier, public_pem, scope_digest, sign
from shared.clock import SystemClock
from shared.events.changes import GrantScope
from shared.events.values import Attestation, Budget, GrantedScope, TrialScope
from shared.pipeline.functions import function_catalogue
from shared.pipeline.loading import load_document
from shared.pipeline.steps import type_names
from shared.storage import Database


@dataclass
class Notary:
    """Approves what tests want approved, as the guardrail would."""

    key: Ed25519PrivateKey = field(default_factory=Ed25519PrivateKey.generate)
    now: Callable[[], datetime] = SystemClock().now

    @property
    def verifier(self) -> Verifier:
        return Verifier(public_pem(self.key.public_key()))

    def attest(self, kind: str, digest: str, scope: str, *, days: float = 1.0, key: Ed25519PrivateKey | None = None) -> Attestation:
        now = self.now()
        unsigned = Attestation(
            kind=kind,
            digest=digest,
            scope=scope,
            domain="general",
            policy_revision="test",
            issued_at=now.isoformat(),
            expires_at=(now + timedelta(days=days)).isoformat(),
            key_id="",
        )
        return sign(key or self.key, unsigned)

    def grant(self, *, budget: Budget | None = None, minutes: float = 10.0, **changes: Any) -> GrantedScope:
        """A scope over everything, unless `changes` narrow it."""
        fields: dict[str, Any] = {
            "scope_id": "scope-1",
            "purpose": "generation",
            "holder": "test",
            "domain": "general",
            "step_types": type_names(),
            "providers": ("claude", "gemini"),
            "functions": tuple(function_catalogue()),
            "budget": budget or Budget(runs=1000, calls=1000, tokens=1_000_000, cost_usd=1.0),
            "expires_at": (self.now() + timedelta(minutes=minutes)).isoformat(),
        }
        scope = TrialScope(**{**fields, **changes})
        return GrantedScope(scope=scope, attestation=self.attest("scope", scope_digest(scope), scope.purpose))

    def granted(self, wish: GrantScope, **changes: Any) -> GrantedScope:
        """What is wished for, unless `changes` make it another."""
        names = ("scope_id", "purpose", "holder", "domain", "budget")
        return self.grant(**{**{name: getattr(wish, name) for name in names}, **changes})

    async def deploy(self, database: Database, source: Mapping[str, Any] | str, **changes: Any) -> str:
        """Stores an approved revision in the guardrail's shape and makes it stable; returns its digest."""
        document = load_document(source)
        revision = {
            "_id": document.digest,
            "pipeline": document.name,
            "domain": document.domain,
            "document": document.canonical(),
            "attestation": self.attest("revision", document.digest, document.name).model_dump(mode="json"),
            "status": "approved",
            **changes,
        }
        await database.collection("revisions").put(revision)
        deployment: dict[str, Any] = {
            "_id": document.name,
            "stable": document.digest,
            "canary": None,
            "previous": [],
            "generation": 1,
        }
        await database.collection("deployments").put(deployment)
        return document.digest
