"""Whose keys are on this machine: those of the local stack's services, and those of the people who work with it."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from evoline.stack.home import Home, find_home
from evoline.whoami import IDENTITY_VARIABLE, KEY_FILE_VARIABLE, default_name, is_named
from shared.errors import ConfigurationError, EvolineError
from shared.identity import Identity, MessageSigner, Registry, add_identity, create_key, read_registry, signer_of_file
from shared.identity.files import KEY_SUFFIX, REGISTRY_NAME
from shared.identity.registry import Kind, public_text

REGISTRY_VARIABLE = "EVOLINE_IDENTITIES_FILE"
OWNER_ROLES = ("reviewer", "operator", "admin")
"""Of whoever starts a local stack first: it is theirs."""


def registry_file(home: Home, environment: Mapping[str, str]) -> Path:
    return Path(environment.get(REGISTRY_VARIABLE) or home.keys / REGISTRY_NAME)


def keys_folder(home: Home) -> Path:
    return home.keys / "identities"


def key_file(home: Home, name: str) -> Path:
    return keys_folder(home) / f"{name}{KEY_SUFFIX}"


def enroll(keys: Path, registry: Path, name: str, *, kind: Kind = "person", roles: tuple[str, ...] = ()) -> Identity:
    """Makes a key in the folder `keys` and registers it; both are kept where they are there. Raises InvalidInputError."""
    probe = Identity(name=name, kind=kind, roles=roles, public_key=_ANY_KEY)
    key = signer_of_file(create_key(keys, probe.name)).key
    identity = probe.model_copy(update={"public_key": public_text(key.public_key())})
    add_identity(registry, identity)
    return identity


def enroll_stack(home: Home, services: tuple[str, ...], owner: str) -> str:
    """What a local stack needs at its start; names that are registered keep what they have. Returns a few words about it."""
    registry = home.keys / REGISTRY_NAME
    known = read_registry(registry)
    fresh = [name for name in services if known.find(name) is None]
    for name in fresh:
        enroll(keys_folder(home), registry, name, kind="service")
    if owner and not any(each.kind == "person" for each in known.identities):
        enroll(keys_folder(home), registry, owner, roles=OWNER_ROLES)
        return f"{len(fresh)} services and {owner} registered"
    return f"{len(fresh)} services registered" if fresh else ""


def signer_for(name: str, environment: Mapping[str, str], directory: Path, *, must: bool = False) -> MessageSigner | None:
    """The key of `name`: the environment's, or one of this stack's home. Raises ConfigurationError where it must be there."""
    named = Path(environment.get(KEY_FILE_VARIABLE) or "")
    home = find_home(environment, directory)
    file = named if named.name.removesuffix(KEY_SUFFIX) == name else key_file(home, name)
    if file.is_file():
        return signer_of_file(file)
    if must:
        registry = _hints(registry_file(home, environment))
        there, way = _keys_there(file.parent, registry), _way_to_sign(name, known=registry.find(name) is not None)
        raise ConfigurationError(
            f"this is for people who sign, and there is no key of {name!r} in {file.parent} ({there}): {way}, "
            f"or name another identity with --as or {IDENTITY_VARIABLE}"
        )
    return None


def check_named(name: str, environment: Mapping[str, str], directory: Path) -> None:
    """Raises ConfigurationError where somebody who was named has no key here: nobody acts unsigned in a name that was asked for."""
    if name or is_named(environment):
        signer_for(name or default_name(environment), environment, directory, must=True)


def _hints(registry: Path) -> Registry:
    """Empty where the registry is not on this machine, or cannot be read: it is asked for hints only."""
    try:
        return read_registry(registry)
    except EvolineError:
        return Registry()


def _keys_there(folder: Path, registry: Registry) -> str:
    """Whose keys are in a folder, without those of services."""
    services = {each.name for each in registry.identities if each.kind == "service"}
    names = {file.name.removesuffix(KEY_SUFFIX) for file in folder.glob(f"*{KEY_SUFFIX}")} - services
    return f"keys of people are there for {', '.join(sorted(names))}" if names else "no key of a person is there"


def _way_to_sign(name: str, *, known: bool) -> str:
    if known:
        return f"it is registered with a key that was made elsewhere (name that file, {name}{KEY_SUFFIX}, with {KEY_FILE_VARIABLE})"
    return f"register one with `evoline people add {name} --role reviewer`"


_ANY_KEY = "A" * 43 + "="
"""A well-formed key, for checking a name before a key is made for it."""
