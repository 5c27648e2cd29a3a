"""Trial scopes as they are answered, believed for the guardrail's signature and not for who answers."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from shared.attestation.signing import Verifier, verify_scope
from shared.clock import Clock
from shared.errors import NotAttestedError
from shared.events.answers import malformed, reading
from shared.events.changes import GrantScope
from shared.events.values import GrantedScope, TrialScope


class Grants:
    """The guardrail's keys, by which whoever asked for a scope looks at what came."""

    def __init__(self, verifier: Callable[[], Verifier], clock: Clock) -> None:
        self._verifier = verifier
        self._clock = clock

    def checked(self, answer: Mapping[str, Any], wish: GrantScope) -> GrantedScope:
        """Raises `UnavailableError` unless the guardrail signed it, as an answer to exactly this wish: another may answer yet."""
        with reading(wish):
            granted = GrantedScope.model_validate(answer)
        if wrong := _differences(granted.scope, wish):
            raise malformed(wish.subject, f"it is a scope for another wish: {wrong}")
        try:
            verify_scope(self._verifier(), granted.scope, granted.attestation, now=self._clock.now())
        except NotAttestedError as error:
            raise malformed(wish.subject, f"the guardrail did not sign it ({error})") from error
        return granted


def _differences(scope: TrialScope, wish: GrantScope) -> str:
    pairs = {name: (getattr(scope, name), getattr(wish, name)) for name in ("scope_id", "purpose", "holder", "domain", "budget")}
    other = [f"{name} is {found}, not {asked}" for name, (found, asked) in pairs.items() if found != asked]
    for name in ("step_types", "providers", "functions"):
        if asked := getattr(wish, name):
            other += [f"{name} has {extra}" for extra in sorted(set(getattr(scope, name)) - set(asked))]
    return "; ".join(other)
