"""Facts that say that something was approved, believed for their signature and not for who published them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from shared.attestation.signing import Verifier
from shared.clock import Clock
from shared.errors import InvalidInputError, NotAttestedError
from shared.events.changes import ChangeApproved
from shared.events.improvement import TemplateLearned
from shared.events.values import Attestation


class Approvals:
    """A handler asks before it acts on such a fact; a forged one is dead-lettered with the reason."""

    def __init__(self, verifier: Callable[[], Verifier], clock: Clock) -> None:
        self._verifier = verifier
        self._clock = clock

    def check_change(self, fact: ChangeApproved) -> None:
        """Raises `NotAttestedError` unless the guardrail signed exactly this document under this name."""
        kind = "revision" if fact.kind in ("promotion", "release") else fact.kind
        self._verify(fact.attestation, kind, fact.digest, fact.pipeline)
        if kind in ("revision", "template"):  # of policies and maturities nobody but the guardrail reads the document
            _check_document(fact.digest, fact.pipeline, fact.document)

    def check_template(self, fact: TemplateLearned) -> None:
        """Raises `NotAttestedError` unless the guardrail signed exactly this template."""
        if fact.attestation is None:
            raise NotAttestedError(f"template {fact.template} comes without the guardrail's attestation")
        self._verify(fact.attestation, "template", fact.digest, fact.template)
        _check_document(fact.digest, fact.template, fact.document)

    def _verify(self, attestation: Attestation, kind: str, digest: str, name: str) -> None:
        self._verifier().verify(attestation, kind=kind, digest=digest, now=self._clock.now(), scope=name)


def _check_document(digest: str, name: str, document: Mapping[str, Any]) -> None:
    # Here, because most who sign or verify read no document, and the language takes long to load.
    from shared.pipeline.loading import load_document

    try:
        found = load_document(document).digest
    except InvalidInputError as error:
        raise NotAttestedError(f"what is told as {name}@{digest[:12]} is no valid document: {error}") from error
    if found != digest:
        raise NotAttestedError(f"{name}@{digest[:12]} is told with another document, {found[:12]}")
