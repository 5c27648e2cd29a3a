"""`evoline demo`: starts the stack if none runs, does the whole job once, stops what it started."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Annotated

import typer

from evoline.cli.demo_report import print_report
from evoline.cli.model_choice import choose_model
from evoline.cli.output import AsJson, err, out, plain, print_json, run_async
from evoline.cli.progress import Progress
from evoline.client.connection import connected
from evoline.demo.report import DemoReport
from evoline.demo.run import run_story
from evoline.demo.story import Sizes
from evoline.stack.home import Home, find_home
from evoline.stack.launch import bring_down, bring_up
from evoline.stack.plan import StackOptions, find_pipelines
from evoline.stack.preflight import Machine, check
from evoline.stack.state import read_state
from evoline.whoami import default_name


def demo(
    keep: Annotated[bool, typer.Option("--keep", envvar="KEEP", help="Leave the stack running afterwards.")] = False,
    cases: Annotated[int, typer.Option(min=5, max=100, help="Sealed cases of the held-out score.")] = Sizes.heldout_cases,
    evaluations: Annotated[int, typer.Option(min=10, help="Evaluations that the evolution may spend.")] = Sizes.evaluations,
    as_json: AsJson = False,
) -> None:
    """Do the main job once on real tweets: generate, approve, run, measure, learn, evolve. Takes a few minutes."""
    home = find_home(os.environ, Path.cwd())
    pipelines = find_pipelines(os.environ, Path.cwd())
    sizes = Sizes(heldout_cases=cases, evaluations=evaluations)
    ours = not read_state(home.state_file).alive
    # Before the event loop starts: Ctrl-C then ends a pull at once.
    options = _options(pipelines) if ours else None
    with Progress(quiet=as_json) as progress:
        report = run_async(_whole(home, pipelines, sizes, progress, options, keep=keep))
    if as_json:
        print_json(report)
        return
    print_report(report, out())
    out().print(f"\nreport: {plain(report_file(home))}")


def _options(pipelines: Path) -> StackOptions:
    model_file, model_url = choose_model(os.environ, wanted=True, quiet=False)
    return StackOptions(model_file=model_file, model_url=model_url, pipelines_dir=pipelines)


async def _whole(
    home: Home, pipelines: Path, sizes: Sizes, progress: Progress, options: StackOptions | None, *, keep: bool
) -> DemoReport:
    """`options` start a stack; None uses the one that runs."""

    def tell(headline: str) -> None:
        progress.line(headline, "\n▸")

    try:
        if options:
            tell("The local stack starts: broker, store, local model, six services")
            for warning in check(home, options, Machine.this(home.root)):
                err().print(f"[yellow]warning:[/yellow] {plain(warning)}")
            await bring_up(home, options, progress.on_event)
        async with connected(author=default_name()) as client:
            report = await run_story(client, pipelines, sizes, tell=tell, on_fact=progress.on_fact)
        write_report(report, report_file(home))
        return report
    finally:
        if options and not keep:
            tell("What the demo started stops (KEEP=1 leaves it running)")
            await bring_down(home, progress.on_event)


def report_file(home: Home) -> Path:
    return home.root / "demo" / "report.json"


def write_report(report: DemoReport, file: Path) -> Path:
    """Written beside and renamed, so that a reader never sees half of it."""
    file.parent.mkdir(parents=True, exist_ok=True)
    beside = file.with_suffix(".json.new")
    beside.write_text(json.dumps(report.model_dump(mode="json"), indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
    beside.replace(file)
    return file
