"""Whoever owns the file may change who signs; that it changed, and how, is on record."""

from __future__ import annotations

from collections.abc import Iterator

from services.guardrail.domain.audit import AuditNote
from services.guardrail.domain.oversight import RegistryNote
from services.guardrail.ports import Guardrail
from services.guardrail.use_cases.telling import Effects
from shared.events.oversight import IdentitiesChanged
from shared.identity import Registry


async def note_identities(at: Guardrail) -> Effects:
    """One entry and one fact a change of the registry, named by its number. The note is written first: a repeat says the same."""
    registry, last = at.identities.current(), await at.registry_notes.last()
    if last is None or last.after_sha256 != registry.sha256:
        before = last.registry if last else Registry()
        last = RegistryNote(
            number=last.number + 1 if last else 1,
            before_sha256=last.after_sha256 if last else "",
            after_sha256=registry.sha256,
            changes=tuple(differences(before, registry)),
            registry=registry,
            at=at.clock.now().isoformat(),
        )
        await at.registry_notes.add(last)
    elif await at.audit.find(_key(last)) is not None:
        return []
    fields = last.model_dump(mode="json", include={"before_sha256", "after_sha256", "changes"})
    await at.audit.append(
        AuditNote(
            key=_key(last),
            at=last.at,
            action="identities.changed",
            actor="owner of identities.yaml",
            subject="identities.yaml",
            digest=last.after_sha256,
            facts=fields,
        )
    )
    return [(f"identities:{last.number}", IdentitiesChanged.model_validate(fields))]


def differences(before: Registry, after: Registry) -> Iterator[str]:
    """One line a name that came, went or changed."""
    old, new = ({each.name: each for each in registry.identities} for registry in (before, after))
    for name in sorted(old.keys() | new.keys()):
        was, now = old.get(name), new.get(name)
        if now is None:
            yield f"{name} removed"
        elif was is None:
            yield f"{name} added: {now.kind}, roles {', '.join(now.roles) or 'none'}, key {now.key_id}"
        elif now.revoked and not was.revoked:
            yield f"{name} revoked at {now.revoked}"
        elif was != now:
            yield f"{name} changed: {now.kind}, roles {', '.join(now.roles) or 'none'}, key {was.key_id} -> {now.key_id}"


def _key(note: RegistryNote) -> str:
    return f"identities:{note.number}"
