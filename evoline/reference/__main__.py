"""Without arguments writes the generated part of `docs/language.md`; with `--check` only says whether it is current."""

from __future__ import annotations

import sys

from evoline.reference.page import PAGE, renewed


def main(arguments: list[str]) -> int:
    written = PAGE.read_text(encoding="utf-8")
    wanted = renewed(written)
    if "--check" in arguments:
        if written != wanted:
            sys.stderr.write(f"{PAGE.name} is not current; run python -m evoline.reference\n")
        return 1 if written != wanted else 0
    PAGE.write_text(wanted, encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
