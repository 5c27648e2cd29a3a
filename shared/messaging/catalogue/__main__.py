"""Without arguments writes the files; with `--check` only says whether they are current."""

from __future__ import annotations

import sys
from pathlib import Path

from shared.messaging.catalogue import access, asyncapi, markdown
from shared.messaging.catalogue.description import describe_all, describe_parts
from shared.messaging.permissions import permissions

DOCS = Path(__file__).parents[3] / "docs"


def files() -> dict[Path, str]:
    messages = describe_all()
    return {
        DOCS / "events.md": markdown.render(messages, describe_parts()),
        DOCS / "asyncapi.json": asyncapi.render(messages),
        DOCS / "permissions.md": access.render(permissions()),
    }


def main(arguments: list[str]) -> int:
    wanted = files()
    if "--check" in arguments:
        stale = [path.name for path, text in wanted.items() if not path.is_file() or path.read_text() != text]
        if stale:
            sys.stderr.write(f"not current: {', '.join(stale)}; run python -m shared.messaging.catalogue\n")
        return 1 if stale else 0
    for path, text in wanted.items():
        path.parent.mkdir(exist_ok=True)
        path.write_text(text)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
