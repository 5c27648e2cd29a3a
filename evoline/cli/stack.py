"""`evoline up | down | status | logs`: the local stack."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated

import typer

from evoline.cli.cassette import checked_cassette
from evoline.cli.freezing import print_standing, standing
from evoline.cli.model_choice import choose_model
from evoline.cli.output import (
    EXIT_INTERRUPTED,
    EXIT_NO,
    EXIT_UNAVAILABLE,
    AsJson,
    err,
    out,
    plain,
    print_json,
    print_table,
    run_async,
)
from evoline.cli.progress import Progress
from evoline.cli.run_log import run_log
from evoline.stack.daemon import supervise
from evoline.stack.home import Home, find_home
from evoline.stack.launch import bring_down, bring_up, delete_data, scale
from evoline.stack.logs import LogFollower, tail
from evoline.stack.plan import SCALED, SERVICES, LocalStack, StackOptions, find_pipelines
from evoline.stack.ports import parse_ports
from evoline.stack.preflight import Machine, check
from evoline.stack.state import read_state
from evoline.stack.status import StackView, look
from shared.errors import ConfigurationError, NotFoundError


def up(  # noqa: PLR0913  each option of the command is an argument
    scales: Annotated[
        list[str], typer.Option("--scale", help="executor=N; on a running stack too.", default_factory=list, show_default=False)
    ],
    ports: Annotated[
        list[str], typer.Option("--port", help="NAME=N demands a port, as nats=4300.", default_factory=list, show_default=False)
    ],
    foreground: Annotated[bool, typer.Option("--foreground", help="Stay and show what happens; Ctrl-C stops the stack.")] = False,
    no_model: Annotated[bool, typer.Option("--no-model", help="Start no local model server.")] = False,
    slots: Annotated[int, typer.Option(min=1, max=64, help="Requests that the local model answers at the same time.")] = 4,
    cassette: Annotated[
        str, typer.Option(help="record:FILE keeps every model call; replay:FILE answers from it, without a model.")
    ] = "",
    as_json: AsJson = False,
) -> None:
    """Start the local stack: broker, document store, local model, six services. Harmless when it is up already."""
    home = find_home(os.environ, Path.cwd())
    executors = parse_scale(scales)
    wanted_ports = parse_ports(ports)
    if read_state(home.state_file).alive:
        if cassette:
            raise ConfigurationError("the stack runs already, and a cassette is put in at its start: evoline down first")
        _up_again(home, executors, as_json)
        return
    tape = checked_cassette(cassette or os.environ.get("EVOLINE_CASSETTE", ""))
    replayed = tape.file if tape and tape.mode == "replay" else None
    model_file, model_url = choose_model(os.environ, wanted=not (no_model or replayed), quiet=as_json)
    options = StackOptions(
        executors=executors or 1,
        model_file=model_file,
        model_url=model_url,
        model_slots=slots,
        ports=wanted_ports,
        cassette=tape.written() if tape else "",
        pipelines_dir=find_pipelines(os.environ, Path.cwd()),
    )
    if replayed:
        err().print(f"[yellow]warning:[/yellow] model calls are replayed from {plain(str(replayed))}: nothing is measured")
    for warning in check(home, options, Machine.this(home.root)):
        err().print(f"[yellow]warning:[/yellow] {plain(warning)}")
    if foreground:
        run_async(_stay(home, options))
        return
    _start(home, options, as_json)


def _start(home: Home, options: StackOptions, as_json: bool) -> None:
    with Progress(quiet=as_json) as progress:
        run_async(bring_up(home, options, progress.on_event))
    _print_view(run_async(look(home)), as_json, "the stack is up")


def _up_again(home: Home, executors: int | None, as_json: bool) -> None:
    async def again() -> StackView:
        options = StackOptions(pipelines_dir=Path())  # not used: something runs already
        await bring_up(home, options, progress.on_event)
        if executors is not None:
            await scale(home, executors, progress.on_event)
        return await look(home)

    with Progress(quiet=as_json) as progress:
        view = run_async(again())
    _print_view(view, as_json, f"the stack runs {executors} executors" if executors else "the stack is up already")


async def _stay(home: Home, options: StackOptions) -> None:
    with Progress() as progress:
        await supervise(
            home, lambda home, ports: LocalStack(home, options, ports, dict(os.environ)), options.ports, progress.on_event
        )


def parse_scale(texts: list[str]) -> int | None:
    """None where nothing was asked for. Raises ConfigurationError."""
    count = None
    for text in texts:
        name, _, number = text.partition("=")
        if name != SCALED:
            known = f"{name} runs once" if name in SERVICES else f"there is no service {name!r}"
            raise ConfigurationError(f"--scale {text}: {known}; only {SCALED}=N can be scaled")
        if not number.isdigit() or not 1 <= int(number) <= 64:
            raise ConfigurationError(f"--scale {text}: N is a number from 1 to 64")
        count = int(number)
    return count


def down(
    data: Annotated[bool, typer.Option("--data", help="Delete all messages, documents and workspaces as well.")] = False,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask before deleting.")] = False,
    as_json: AsJson = False,
) -> None:
    """Stop the local stack and wait until nothing of it runs. The data stay, unless --data."""
    home = find_home(os.environ, Path.cwd())
    if data and not yes:
        _confirm_deletion(home)
    with Progress(quiet=as_json) as progress:
        stopped = run_async(bring_down(home, progress.on_event))
    if data:
        delete_data(home)
    if as_json:
        print_json({"stopped": stopped, "data_deleted": data, "home": str(home.root)})
        return
    out().print("the stack is down" if stopped else f"no stack ran in {home.root}")
    if data:
        out().print(f"deleted {home.data}")


def _confirm_deletion(home: Home) -> None:
    try:
        sure = typer.confirm(f"Delete everything in {home.data}?", err=True)
    except typer.Abort:
        raise SystemExit(EXIT_INTERRUPTED) from None
    if not sure:
        raise SystemExit(EXIT_NO)


def status(as_json: AsJson = False) -> None:
    """Show every process of the stack, and what is frozen. Exit code 3 unless all processes are ready."""
    home = find_home(os.environ, Path.cwd())
    view = run_async(look(home))
    freezes = standing() if view.status in ("ready", "degraded") else []
    if as_json:
        print_json({**view.as_json(), "freezes": freezes})
    else:
        _print_view(view, as_json, f"the stack is {view.status}")
        print_standing(freezes)
    if view.status != "ready":
        raise SystemExit(EXIT_UNAVAILABLE)


def _print_view(view: StackView, as_json: bool, headline: str) -> None:
    if as_json:
        print_json(view.as_json())
        return
    out().print(f"[bold]{headline}[/bold] ({plain(view.home)})")
    rows = [
        (
            one.name,
            one.pid or "-",
            one.port or "-",
            _ready(one.ready, one.detail),
            one.restarts,
            _age(one.uptime_seconds),
            _size(one.memory_bytes),
        )
        for one in view.processes
    ]
    print_table(("process", "pid", "port", "ready", "restarts", "up", "memory"), rows, empty="nothing runs; start with: evoline up")
    for name, url in view.urls.items():
        out().print(f"{name:<13} {plain(url)}")
    if view.error:
        out().print(plain(view.error))


def _ready(ready: bool, detail: str) -> str:
    return "yes" if ready else f"no: {detail}"


def _age(seconds: float) -> str:
    minutes, rest = divmod(int(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes} min" if hours else f"{minutes} min {rest} s" if minutes else f"{rest} s"


def _size(count: int) -> str:
    return f"{count / 1e6:,.0f} MB" if count else "-"


def logs(
    what: Annotated[
        list[str] | None,
        typer.Argument(metavar="[NAME | run ID]", help="Process, as executor-1 or nats; or a run; default: all processes."),
    ] = None,
    follow: Annotated[
        bool, typer.Option("-f", "--follow", help="Go on with new lines: until Ctrl-C, or until the run ends or is paused.")
    ] = False,
    lines: Annotated[int | None, typer.Option("-n", "--lines", min=0, help="Last lines; default: 20 of each process.")] = None,
    as_json: AsJson = False,
) -> None:
    """Show the logs of the stack's processes, or what a run did, in the order of time."""
    words = what or []
    if len(words) == 2 and words[0] == "run":
        run_log(words[1], follow, lines, as_json)
    elif len(words) <= 1:
        _process_logs("".join(words), follow, 20 if lines is None else lines, as_json)
    else:
        raise ConfigurationError(f"evoline logs {' '.join(words)}: give the name of a process, or `run` and the id of a run")


def _process_logs(name: str, follow: bool, lines: int, as_json: bool) -> None:
    home = find_home(os.environ, Path.cwd())
    paths = _log_files(home, name)
    found = {each: tail(path, lines) for each, path in paths.items()}
    if as_json:
        print_json({"logs": found})
        return
    width = max(map(len, paths), default=0)
    for each, texts in found.items():
        for text in texts:
            _print_line(each, text, width)
    if follow:
        for each, text in LogFollower(paths).lines():
            _print_line(each, text, width)


def _log_files(home: Home, name: str) -> dict[str, Path]:
    files = {path.stem: path for path in sorted(home.logs.glob("*.log"))}
    if not name:
        if not files:
            raise NotFoundError(f"there are no logs in {home.logs}; start the stack with: evoline up")
        return files
    if name not in files and f"{name}-1" in files:
        return {each: path for each, path in files.items() if each.startswith(f"{name}-")}
    if name not in files:
        raise NotFoundError(f"no process {name!r} has a log; there are {', '.join(files) or 'none'}")
    return {name: files[name]}


def _print_line(name: str, text: str, width: int) -> None:
    typer.echo(f"{name:<{width}} | {text}" if width else text)
