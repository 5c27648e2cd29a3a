"""The `evoline` command. Exit codes: 0 done; 1 the answer is no, or the input is invalid; 2 wrong usage or configuration;
3 something needed is unavailable; 4 a fault of Evoline itself; 130 Ctrl-C."""

from __future__ import annotations

import contextlib
import signal
import sys
import threading
from collections.abc import Iterator, Sequence

from evoline.cli.app import build
from evoline.cli.exit_codes import EXIT_INTERRUPTED


def main() -> None:
    sys.exit(run(sys.argv[1:]))


def run(arguments: Sequence[str]) -> int:
    """Runs one command line and returns its exit code; no error leaves it as a traceback."""
    try:
        with _interrupts_exit():
            build()(args=list(arguments), prog_name="evoline")
    except SystemExit as end:
        return end.code if isinstance(end.code, int) else int(bool(end.code))
    except Exception as error:
        from evoline.cli.output import report_error  # takes longer to load than the help takes in all

        return report_error(error, as_json="--json" in arguments)
    return 0


@contextlib.contextmanager
def _interrupts_exit() -> Iterator[None]:
    """Ctrl-C outside of asynchronous work ends the command with its own code; Typer would make it a plain 1."""

    def leave(*_: object) -> None:
        raise SystemExit(EXIT_INTERRUPTED)

    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGINT, leave)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)
