"""Whose name a command acts in where none is given; imports nothing slow, since every command asks it."""

from __future__ import annotations

import getpass
import os
import re
from collections.abc import Mapping
from pathlib import PurePath

IDENTITY_VARIABLE = "EVOLINE_IDENTITY"
KEY_FILE_VARIABLE = "EVOLINE_IDENTITY_KEY_FILE"


def default_name(environment: Mapping[str, str] | None = None) -> str:
    """`EVOLINE_IDENTITY`, else the identity of `EVOLINE_IDENTITY_KEY_FILE`, else the user's name as an identifier of the bus."""
    environment = os.environ if environment is None else environment
    if given := environment.get(IDENTITY_VARIABLE):
        return given
    if file := environment.get(KEY_FILE_VARIABLE):
        return PurePath(file).stem
    try:
        name = getpass.getuser()
    except (KeyError, OSError):
        name = ""
    return re.sub(r"[^A-Za-z0-9_.-]+", "-", name).strip("-_.")[:64] or "anonymous"


def is_named(environment: Mapping[str, str] | None = None) -> bool:
    """Whether the environment names an identity; a user's name is only a guess of who acts."""
    environment = os.environ if environment is None else environment
    return bool(environment.get(IDENTITY_VARIABLE) or environment.get(KEY_FILE_VARIABLE))
