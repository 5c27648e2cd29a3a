"""The specification's printed documents, taken out of its own text: what the issue calls verbatim."""

from __future__ import annotations

import re
from functools import cache
from pathlib import Path

from shared.pipeline.document import Document
from shared.pipeline.loading import load_document

SPECIFICATION = Path(__file__).parent / "data" / "SPECIFICATION.md"
_FENCED_YAML = re.compile(r"^```yaml\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_PATH = re.compile(r"# (pipelines/meta/([a-z_]+)\.yaml)\n")


@cache
def printed_documents() -> dict[str, str]:
    """File stem -> YAML text, in printed order. Every fenced YAML block must name its file in its first line."""
    found: dict[str, str] = {}
    for text in _FENCED_YAML.findall(SPECIFICATION.read_text(encoding="utf-8")):
        named = _PATH.match(text)
        assert named, f"a YAML block without its path: {text[:80]!r}"
        assert named[2] not in found, f"{named[1]} is printed twice"
        found[named[2]] = text
    return found


def printed(stem: str) -> Document:
    return load_document(printed_documents()[stem], file=f"{stem}.yaml")
