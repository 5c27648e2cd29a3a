"""`evoline run | runs | cancel`."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Annotated, Any

import typer

from evoline.cli.arguments import read_inputs
from evoline.cli.output import EXIT_NO, AsJson, Author, err, out, plain, print_json, print_table, run_async
from evoline.cli.progress import Progress
from evoline.client.api import new_id
from evoline.client.connection import connected
from shared.errors import InvalidInputError, Problem
from shared.events.runs import ExecuteRun, ListRuns, RunFinished


def run(  # noqa: PLR0913  one option each
    pipeline: Annotated[str, typer.Argument(help="NAME, NAME@stable or NAME@DIGEST of an approved pipeline.")],
    inputs: Annotated[
        list[str],
        typer.Option(
            "--input", "-i", help="JSON object, @FILE, key=text or key:=JSON; repeatable.", default_factory=list, show_default=False
        ),
    ],
    from_stores: Annotated[
        bool, typer.Option("--from-stores", help="Fill required inputs that you do not give from the services' stores.")
    ] = False,
    domain: Annotated[str | None, typer.Option(help="With --from-stores: the domain that the inputs are about.")] = None,
    run_id: Annotated[str | None, typer.Option(help="Your id of the run; the same id is the same run.")] = None,
    timeout: Annotated[float, typer.Option(help="Seconds to wait for the end.")] = 330.0,
    author: Author = "",
    as_json: AsJson = False,
) -> None:
    """Run a pipeline on an input and print its outputs. Exit code 1 unless it succeeded."""
    _check_is_name(pipeline)
    command = ExecuteRun(run_id=run_id or new_id("run"), pipeline=pipeline, inputs=read_inputs(inputs))
    wish = StoreWish(domain) if from_stores else None
    with Progress(quiet=as_json) as progress:
        finished = run_async(_run(command, wish, author, timeout, progress))
    if as_json:
        print_json(finished)
    else:
        print_run(finished)
    if finished.status != "succeeded":
        raise SystemExit(EXIT_NO)


def _check_is_name(pipeline: str) -> None:
    if pipeline.endswith((".yaml", ".yml")) or "/" in pipeline:
        reason = f"{pipeline} is a file, and only approved pipelines run, by their names"
        suggestion = "`evoline validate FILE` checks it; `evoline propose FILE --reason ...` has it judged"
        raise InvalidInputError(Problem(path="pipeline", reason=reason, suggestion=suggestion))


@dataclass(frozen=True)
class StoreWish:
    """Inputs that are not given come from the stores; about this domain where one is named."""

    domain: str | None


async def _run(command: ExecuteRun, wish: StoreWish | None, author: str, timeout_seconds: float, progress: Progress) -> RunFinished:
    async with connected(author=author) as client:
        if wish is not None and command.pipeline is not None:
            from evoline.client.inputs import inputs_from_stores  # loads the language of pipelines, which few runs need here

            filled = await inputs_from_stores(client, command.pipeline, command.inputs, domain=wish.domain)
            progress.line(f"from the stores: {', '.join(sorted(filled)) or 'nothing was missing'}")
            command = command.model_copy(update={"inputs": {**filled, **command.inputs}})
        progress.now(f"run {command.run_id} of {command.pipeline}")
        return await client.execute(command, on_fact=progress.on_fact, timeout_seconds=timeout_seconds)


def print_run(finished: RunFinished) -> None:
    outputs = finished.outputs
    if outputs is not None:
        typer.echo(outputs if isinstance(outputs, str) else json.dumps(outputs, indent=2, ensure_ascii=False))
    usage = finished.usage
    models = sorted({step.model for step in finished.steps if step.model})
    spent = f"{usage.calls} calls, {usage.input_tokens}+{usage.output_tokens} tokens, {usage.cost_usd:.4f} USD"
    revision = f"@{finished.digest[:12]}" if finished.digest else ""
    what = f"{finished.status}: {finished.pipeline}{revision} in {finished.latency_seconds:.2f} s"
    served = f", served by {', '.join(models)}" if models else ""
    err().print(plain(f"{what}, {spent}{served}"))
    if finished.replayed:
        err().print("[yellow]replayed from a cassette:[/yellow] times, tokens and costs are those of the recording")
    if finished.error:
        err().print(f"[red]{plain(finished.error_code)}:[/red] {plain(finished.error)}")
    err().print(f"look: evoline show run {finished.run_id}")


def runs(
    pipeline: Annotated[str | None, typer.Option(help="Only runs of this pipeline.")] = None,
    status: Annotated[
        str | None, typer.Option(help="succeeded, degraded, failed, refused, cancelled, running, paused or waiting.")
    ] = None,
    purpose: Annotated[str, typer.Option(help="production, trial, evaluation, gate, measure, meta or all.")] = "production",
    limit: Annotated[int, typer.Option("-n", "--limit", min=1, max=500)] = 20,
    as_json: AsJson = False,
) -> None:
    """List runs, newest first."""
    query = ListRuns.model_validate(
        {"pipeline": pipeline, "status": status, "purpose": None if purpose == "all" else purpose, "limit": limit}
    )
    found = run_async(_ask_runs(query))
    if as_json:
        print_json({"runs": found})
        return
    rows = [
        (
            one.get("run_id"),
            one.get("pipeline"),
            str(one.get("digest", ""))[:12],
            f"{one.get('status')}{' (imported)' if one.get('imported') else ''}",
            "" if one.get("latency_seconds") is None else f"{one['latency_seconds']:.2f} s",
            one.get("purpose"),
            str(one.get("started_at", ""))[:19],
        )
        for one in found
    ]
    print_table(("run", "pipeline", "revision", "status", "time", "purpose", "started"), rows, empty="no runs yet")


async def _ask_runs(query: ListRuns) -> list[dict[str, Any]]:
    async with connected() as client:
        rows: list[dict[str, Any]] = (await client.ask(query))["runs"]
        return rows


def cancel(
    run_id: Annotated[str, typer.Argument(help="Id of the run.")],
    reason: Annotated[str, typer.Option(help="Kept with the run.")] = "",
    author: Author = "",
    as_json: AsJson = False,
) -> None:
    """Stop a run; calls under way are aborted. A finished run stays as it is."""

    async def work() -> RunFinished:
        async with connected(author=author) as client:
            return await client.cancel(run_id, reason)

    finished = run_async(work())
    if as_json:
        print_json(finished)
    else:
        out().print(plain(f"run {run_id}: {finished.status}"))
        if finished.status != "cancelled":
            err().print("it had ended before: nothing was cancelled")
