"""`regex_extract`: linear-time matching (RE2), so that no pattern can run away; no look-around, no back-references."""

from __future__ import annotations

from typing import Any

import re2

from shared.errors import InvalidInputError
from shared.pipeline.functions.spec import FunctionSpec, parameters

MAX_TEXT = 1_000_000
MAX_PATTERN = 1000
MAX_MATCHES = 10_000
_MAX_PROGRAM_BYTES = 8 * 1024 * 1024


def regex_extract(
    text: str, pattern: str, group: int | str = 0, *, find_all: bool = False, ignore_case: bool = False, multiline: bool = False
) -> Any:
    """The first match or None, or with `find_all` all of them: each the text of `group`."""
    compiled = _compiled(pattern, ignore_case=ignore_case, multiline=multiline)
    _check_group(compiled, group)
    if not find_all:
        match = compiled.search(text)
        return match.group(group) if match else None
    found: list[str | None] = []
    for match in compiled.finditer(text):
        if len(found) == MAX_MATCHES:
            raise InvalidInputError(f"regex_extract: more than {MAX_MATCHES} matches")
        found.append(match.group(group))
    return found


def _compiled(pattern: str, *, ignore_case: bool, multiline: bool) -> Any:
    options = re2.Options()
    options.max_mem = _MAX_PROGRAM_BYTES
    options.log_errors = False
    options.case_sensitive = not ignore_case
    try:
        return re2.compile(f"(?m){pattern}" if multiline else pattern, options)
    except re2.error as error:
        reason = error.args[0] if error.args else error
        text = reason.decode(errors="replace") if isinstance(reason, bytes) else str(reason)
        raise InvalidInputError(f"regex_extract: bad pattern: {text} (look-around and back-references are not offered)") from error


def _check_group(compiled: Any, group: int | str) -> None:
    known = group in compiled.groupindex if isinstance(group, str) else 0 <= group <= compiled.groups
    if not known:
        names = ", ".join(compiled.groupindex) or "none"
        raise InvalidInputError(f"regex_extract: no group {group!r}; groups 0 to {compiled.groups}, names: {names}")


REGEX_EXTRACT = FunctionSpec(
    name="regex_extract",
    description="Finds a regular expression (RE2 syntax) in a text: the first match or null, or a list of all matches.",
    parameters=parameters(
        {
            "text": {"type": "string", "maxLength": MAX_TEXT},
            "pattern": {"type": "string", "minLength": 1, "maxLength": MAX_PATTERN},
        },
        {
            "group": {
                "type": ["integer", "string"],
                "default": 0,
                "description": "Number or name of the group to return; 0 is the match.",
            },
            "find_all": {"type": "boolean", "default": False},
            "ignore_case": {"type": "boolean", "default": False},
            "multiline": {"type": "boolean", "default": False, "description": "^ and $ match at every line."},
        },
    ),
    cost_class="free",
    pure=regex_extract,
)
