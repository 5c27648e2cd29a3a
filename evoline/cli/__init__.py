"""The `evoline` command. Exit codes: 0 done; 1 the answer is no, or the input is invalid; 2 wrong usage or configuration;
3 something needed is unavailable; 4 a fault of Evoline itself; 130 Ctrl-C."""

from __future__ import annotations

import sys
from collections.abc import Sequence

from evoline.cli.app import build
from evoline.cli.output import EXIT_INTERRUPTED, report_error


def main() -> None:
    sys.exit(run(sys.argv[1:]))


def run(arguments: Sequence[str]) -> int:
    """Runs one command line and returns its exit code; no error leaves it as a traceback."""
    try:
        build()(args=list(arguments), prog_name="evoline")
    except SystemExit as end:
        return end.code if isinstance(end.code, int) else int(bool(end.code))
    except KeyboardInterrupt:
        return EXIT_INTERRUPTED
    except Exception as error:
        return report_error(error, as_json="--json" in arguments)
    return 0
