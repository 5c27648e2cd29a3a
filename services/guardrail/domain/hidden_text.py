"""Characters that people cannot see, or cannot tell from others: what a reviewer reads must be what a model gets."""

from __future__ import annotations

import re
import unicodedata

_JOINERS = frozenset("\u200c\u200d")
"""Needed by many scripts and by emoji; suspicious only between letters of ASCII."""
_UNSEEN = frozenset(("Cf", "Co", "Cn", "Cs"))
_BLANKS = frozenset("\u115f\u1160\u2800\u3164\uffa0")
"""Letters and symbols that draw nothing."""
_LOOKALIKE_SCRIPTS = frozenset(("LATIN", "CYRILLIC", "GREEK", "ARMENIAN", "CHEROKEE"))
_WORD = re.compile(r"\w+")


def hidden(text: str) -> frozenset[str]:
    """The characters of `text` that deceive a reader."""
    if text.isascii():
        return frozenset(character for character in text if _is_control(character))
    found = {character for index, character in enumerate(text) if _is_invisible(text, index) or _is_styled(character)}
    for word in _WORD.findall(text):
        if not word.isascii() and len(_scripts(word)) > 1:
            found |= {character for character in word if not character.isascii()}
    return frozenset(found)


def visible(text: str) -> str:
    """The same text, its deceiving characters written as their numbers."""
    doubtful = hidden(text)
    return "".join(_number(character) if character in doubtful else character for character in text) if doubtful else text


def escaped(text: str) -> str:
    return "".join(character if character.isascii() else _number(character) for character in text)


def _is_control(character: str) -> bool:
    return unicodedata.category(character) == "Cc" and character not in "\n\r\t"


def _is_invisible(text: str, index: int) -> bool:
    character = text[index]
    if character in _JOINERS:
        return text[max(0, index - 1) : index + 2].replace(character, "").isascii()
    return unicodedata.category(character) in _UNSEEN or _is_control(character) or character in _BLANKS


def _is_styled(character: str) -> bool:
    """A letter in another dress: full width, bold, script."""
    return (
        unicodedata.decomposition(character).startswith(("<font>", "<wide>")) and unicodedata.normalize("NFKC", character).isascii()
    )


def _scripts(word: str) -> set[str]:
    return {unicodedata.name(character, "").split(" ")[0] for character in word} & _LOOKALIKE_SCRIPTS


def _number(character: str) -> str:
    return f"\\u{ord(character):04x}" if ord(character) < 0x10000 else f"\\U{ord(character):08x}"
