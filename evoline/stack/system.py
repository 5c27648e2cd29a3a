"""What the operating system says about processes and ports."""

from __future__ import annotations

import contextlib
import ctypes
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

PR_SET_PDEATHSIG = 1
LOOPBACK = "127.0.0.1"


def started_at(pid: int) -> str:
    """A mark that differs between two processes that had the same pid; empty where none runs (a zombie does not)."""
    if sys.platform != "linux":
        return _ask_ps(pid, "lstart")
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return ""
    return "" if fields[0] in "ZX" else fields[19]


def is_running(pid: int, mark: str) -> bool:
    return bool(mark) and started_at(pid) == mark


def memory_bytes(pid: int) -> int:
    """Resident set; 0 where the process is gone."""
    if sys.platform != "linux":
        answer = _ask_ps(pid, "rss")
        return int(answer) * 1024 if answer.isdigit() else 0
    try:
        pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
    except (OSError, IndexError):
        return 0
    return pages * os.sysconf("SC_PAGE_SIZE")


def _ask_ps(pid: int, column: str) -> str:
    answer = subprocess.run(["ps", "-o", f"{column}=", "-p", str(pid)], capture_output=True, text=True, check=False)  # noqa: S603, S607 - fixed words and a number
    return answer.stdout.strip()


def die_with_parent() -> Callable[[], None]:
    """For `preexec_fn`: the child is killed when its parent ends, however it ends. Linux only; elsewhere it does nothing,
    and what a killed supervisor left is ended by the next `up` or `down` (the state file names it)."""
    if sys.platform != "linux":
        return lambda: None
    parent = os.getpid()
    libc = ctypes.CDLL(None, use_errno=True)

    def arrange() -> None:
        libc.prctl(PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
        if os.getppid() != parent:  # it died before the call above
            os._exit(1)

    return arrange


def end_process(pid: int, mark: str, number: signal.Signals) -> None:
    """Signals the process and its group, if it still is the one that `mark` names."""
    if not is_running(pid, mark):
        return
    try:
        os.killpg(pid, number) if os.getpgid(pid) == pid else os.kill(pid, number)
    except ProcessLookupError:
        return


def listens(pid: int, port: int) -> bool | None:
    """Whether this process, or one of its group, accepts connections on the port; None where the system does not tell."""
    if sys.platform != "linux":
        return None
    try:
        wanted = _listening_sockets(port)
        return any(_sockets_of(member) & wanted for member in _group_of(pid))
    except OSError:
        return None


_LISTENING = "0A"


def _listening_sockets(port: int) -> set[str]:
    """Names of the sockets as they stand in a process' folder of open files."""
    files = [file for file in (Path("/proc/net/tcp"), Path("/proc/net/tcp6")) if file.exists()]
    rows = [line.split() for file in files for line in file.read_text().splitlines()]
    return {f"socket:[{row[9]}]" for row in rows if row[3] == _LISTENING and int(row[1].rpartition(":")[2], 16) == port}


def _group_of(leader: int) -> list[int]:
    found = []
    for each in Path("/proc").iterdir():
        if each.name.isdigit():
            with contextlib.suppress(OSError):
                if os.getpgid(int(each.name)) == leader:
                    found.append(int(each.name))
    return found


def _sockets_of(pid: int) -> set[str]:
    links = set()
    with contextlib.suppress(OSError):
        for each in Path(f"/proc/{pid}/fd").iterdir():
            with contextlib.suppress(OSError):
                links.add(str(each.readlink()))
    return links


def port_is_free(port: int, host: str = LOOPBACK) -> bool:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError:
            return False
    return True


def any_free_port(host: str = LOOPBACK) -> int:
    with socket.socket() as probe:
        probe.bind((host, 0))
        return int(probe.getsockname()[1])
