"""What an author probably meant: the nearest known name, or what a word of other tools is called here."""

from __future__ import annotations

from collections.abc import Mapping
from difflib import get_close_matches

MOST_LISTED = 30
_ELSEWHERE: Mapping[str, tuple[str, ...]] = {
    "agent": ("claude",),
    "anthropic": ("claude",),
    "args": ("arguments",),
    "backoff": ("retry",),
    "bool": ("boolean",),
    "call": ("function",),
    "chain": ("pipeline",),
    "chat": ("claude_session", "chat"),
    "code": ("function", "data_transform"),
    "completion": ("claude",),
    "cond": ("condition", "when"),
    "condition": ("when", "condition"),
    "depends": ("after",),
    "depends_on": ("after",),
    "desc": ("description",),
    "dict": ("object",),
    "double": ("number",),
    "extract": ("claude_extract",),
    "fallback": ("on_error",),
    "fields": ("schema",),
    "file": ("file_ops", "path"),
    "float": ("number",),
    "for": ("for_loop",),
    "for_each": ("for_loop", "items"),
    "foreach": ("for_loop", "items"),
    "google": ("gemini",),
    "gpt": ("claude",),
    "id": ("name",),
    "if": ("when", "switch"),
    "input_schema": ("inputs",),
    "instructions": ("prompt", "system"),
    "int": ("integer",),
    "kind": ("type", "op"),
    "list": ("array",),
    "llm": ("claude",),
    "loop": ("for_loop",),
    "map": ("for_loop", "object", "map"),
    "max_attempts": ("retry", "max_attempts"),
    "max_retries": ("retry", "max_attempts"),
    "message": ("prompt",),
    "messages": ("prompt",),
    "needs": ("after",),
    "openai": ("claude",),
    "output": ("outputs",),
    "output_schema": ("schema",),
    "params": ("inputs", "arguments", "parameters"),
    "parallel": ("parallel_claude", "dataflow"),
    "preset": ("type",),
    "python": ("function",),
    "requires": ("after",),
    "response_format": ("schema",),
    "response_schema": ("schema",),
    "retries": ("retry", "max_attempts"),
    "session_name": ("session",),
    "str": ("string",),
    "subpipeline": ("pipeline",),
    "system_prompt": ("system",),
    "temp": ("temperature",),
    "template": ("prompt",),
    "text": ("string", "prompt"),
    "timeout": ("timeout_seconds",),
    "tokens": ("max_tokens", "tokens"),
    "transform": ("data_transform",),
    "var": ("set_variable", "variable"),
    "variables": ("inputs",),
    "wait_for": ("after",),
    "while": ("while_loop",),
}
"""A word of other tools -> what it is here, where that is known at the place; the first known one counts."""


def did_you_mean(wrong: str, known: tuple[str, ...]) -> str:
    """Suggestion for a wrong name: the nearest known one, what other tools call so, or all known ones where they are few."""
    meant = nearest(wrong, known)
    if meant:
        return f"did you mean `{meant}`?"
    return f"known: {', '.join(known)}" if 0 < len(known) <= MOST_LISTED else ""


def no_such_pipeline(name: str, deployed: tuple[str, ...]) -> str:
    """That there is none of this name, where those that serve are listed, and the one that is probably meant."""
    meant = nearest(name, deployed)
    return f"there is no pipeline {name!r}: `evoline pipelines` lists what serves" + (f"; did you mean {meant}?" if meant else "")


def is_swapped(wrong: str, known: str) -> bool:
    """Whether two letters beside each other changed places: `txet` for `text`."""
    differ = [index for index, (one, other) in enumerate(zip(wrong, known, strict=False)) if one != other]
    if len(wrong) != len(known) or len(differ) != 2 or differ[1] != differ[0] + 1:
        return False
    return wrong[differ[0]] == known[differ[1]] and wrong[differ[1]] == known[differ[0]]


def nearest(wrong: str, known: tuple[str, ...]) -> str:
    """The known name that is probably meant, or empty."""
    lowered = str(wrong).strip().lower().replace("-", "_").replace(" ", "_")
    if lowered in known:
        return lowered
    meant = next((name for name in _ELSEWHERE.get(lowered, ()) if name in known), "")
    close = get_close_matches(lowered, known, 1)
    begun = [name for name in known if len(lowered) >= 3 and name.startswith(lowered)]
    return meant or (close[0] if close else begun[0] if len(begun) == 1 else "")
