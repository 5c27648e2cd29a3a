"""`python -m evoline.stack HOME OPTIONS-JSON [EVENTS-FD]`: the supervisor in the background, started by `evoline up`."""

from __future__ import annotations

import asyncio
import os
import sys
from pathlib import Path

from evoline.stack.daemon import AlreadyUpError, supervise
from evoline.stack.events import OnEvent, StackEvent
from evoline.stack.home import Home
from evoline.stack.plan import LocalStack, StackOptions
from evoline.stack.ports import PortChooser
from shared.errors import EvolineError


def pipe_writer(descriptor: int) -> OnEvent:
    """Writes events to whoever started this; when that is gone, to nobody."""
    open_descriptors = {descriptor}

    def write(event: StackEvent) -> None:
        sys.stderr.write(event.line().decode())
        for number in tuple(open_descriptors):
            try:
                os.write(number, event.line())
            except OSError:
                open_descriptors.discard(number)

    return write


def main(arguments: list[str]) -> int:
    home = Home(Path(arguments[0]))
    options = StackOptions.model_validate_json(arguments[1])
    emit = pipe_writer(int(arguments[2]))

    def make_plan(home: Home, ports: PortChooser) -> LocalStack:
        return LocalStack(home, options, ports, dict(os.environ))

    try:
        asyncio.run(supervise(home, make_plan, options.ports, emit))
    except AlreadyUpError as error:
        emit(StackEvent("failed", text=str(error), name=error.code))
        return 3
    except EvolineError as error:
        emit(StackEvent("failed", text=str(error)))
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
