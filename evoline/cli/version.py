"""`evoline version`."""

from __future__ import annotations

from evoline.cli.output import AsJson, out, plain, print_json
from evoline.stack.versions import versions


def version(as_json: AsJson = False) -> None:
    """Show the versions of Evoline and of what it runs on."""
    found = versions()
    if as_json:
        print_json(found)
        return
    for name, number in found.items():
        out().print(plain(f"{name} {number}"))
