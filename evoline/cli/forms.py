"""What patterns of messages ask for, in the words of whoever types them."""

from __future__ import annotations

from collections.abc import Mapping

_DIGITS = "8 to 64 of the digits 0-9 and a-f, as `evoline show PIPELINE` lists them"
_ID = "letters, digits and _ . : -, beginning with a letter or digit; at most 128"
_NAME = "small letters, digits and _, beginning with a letter; at most 63"

FORMS: Mapping[str, str] = {
    r"^[0-9a-f]{8,64}$": f"write {_DIGITS}",
    r"^[a-z][a-z0-9_]{0,62}(@(stable|canary|[0-9a-f]{8,64}))?$": (
        f"write NAME, NAME@stable, NAME@canary or NAME@DIGEST, with {_DIGITS}"
    ),
    r"^[a-z][a-z0-9_]{0,62}$": f"write a pipeline's name: {_NAME}",
    r"^[a-z][a-z0-9_-]{0,62}$": f"write a domain: {_NAME.replace('and _', '_ and -')}",
    r"^[A-Za-z0-9][A-Za-z0-9_.:-]{0,127}$": f"write {_ID}",
    r"^\d{4}-\d{2}-\d{2}$": "write a day as 2026-11-27",
    r"^(\d{4}-\d\d-\d\d(T[0-9:.]+(Z|[+-]\d\d:\d\d))?)?$": "write a day as 2026-11-27, or a time as 2026-11-27T08:00:00Z",
    r"^([0-9a-f]{8,64})?$": "write 8 to 64 of the digits 0-9 and a-f, as `evoline policy list` shows them",
}
"""Pattern -> what to write instead."""
