"""A stack of small processes for the tests of the supervisor: `python tiny_stack.py HOME WHAT` runs one in this process.

Each child is a HTTP server of a few lines that answers /ready; WHAT says how one of them misbehaves."""

from __future__ import annotations

import asyncio
import os
import sys
from dataclasses import dataclass, field
from pathlib import Path

from evoline.stack.child import ProcessSpec
from evoline.stack.daemon import supervise
from evoline.stack.events import StackEvent
from evoline.stack.home import Home
from evoline.stack.plan import Action
from evoline.stack.ports import PortChooser
from evoline.stack.readiness import http_probe
from evoline.stack.state import StackRecord

SERVER = """
import http.server, signal, subprocess, sys, pathlib, time
trace = pathlib.Path(sys.argv[2])
name = sys.argv[3]
def note(text):
    with trace.open("a") as file: file.write(f"{text} {name}\\n")
def stop(*_):
    note("stopped"); sys.exit(0)
signal.signal(signal.SIGTERM, signal.SIG_IGN if sys.argv[4] == "deaf" else stop)
class Ready(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200); self.end_headers(); self.wfile.write(b"ok")
    def log_message(self, *_): pass
if sys.argv[4] == "mute":
    time.sleep(60)
server = http.server.HTTPServer(("127.0.0.1", int(sys.argv[1])), Ready)
if sys.argv[4] == "litter":
    subprocess.Popen(["sleep", "60"], pass_fds=[server.fileno()])
note("started")
server.serve_forever()
"""
BROKEN = "import sys; print('the cellar is full of water', flush=True); sys.exit(7)"


@dataclass
class TinyPlan:
    home: Home
    ports: PortChooser
    what: str = "fine"
    executors: int = 1
    names: tuple[str, ...] = field(default=("store", "worker"))
    start_seconds: float = 60.0

    def describe(self, record: StackRecord) -> None:
        record.urls = {"nats": "nats://tiny"}

    def nodes(self) -> list[ProcessSpec | Action]:
        first = self._spec("store", ())
        action = Action("prepare", self._prepare, after=("store",))
        last = self._broken() if self.what == "broken" else self._spec("worker", ("prepare",))
        return [last, action, first, *(self.executor(number + 1) for number in range(self.executors))]

    def executor(self, number: int) -> ProcessSpec:
        return self._spec(f"executor-{number}", ("prepare",))

    async def _prepare(self) -> str:
        if self.what == "slow":
            await asyncio.sleep(30)
        return "prepared"

    def _broken(self) -> ProcessSpec:
        return ProcessSpec("worker", (sys.executable, "-c", BROKEN), os.environ, http_probe("http://127.0.0.1:9/"), ("prepare",))

    def _spec(self, name: str, after: tuple[str, ...]) -> ProcessSpec:
        port = self.ports.port(name)
        url = f"http://127.0.0.1:{port}"
        manner = self.what if self.what in ("deaf", "mute", "litter") and name == "worker" else "polite"
        command = (sys.executable, "-c", SERVER, str(port), str(self.home.root / "trace"), name, manner)
        return ProcessSpec(
            name, command, os.environ, http_probe(f"{url}/ready"), after, port, url, self.start_seconds, stop_seconds=1.0
        )


def main() -> None:
    home, what = Home(Path(sys.argv[1])), sys.argv[2]

    def tell(event: StackEvent) -> None:
        sys.stdout.write(event.line().decode())
        sys.stdout.flush()

    asyncio.run(supervise(home, lambda home, ports: TinyPlan(home, ports, what), {}, tell))


if __name__ == "__main__":
    main()
