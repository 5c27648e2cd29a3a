"""`evoline pause | resume | retry | fork | journal`: runs that exist."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from typing import Annotated, Any

import typer

from evoline.cli.arguments import read_inputs
from evoline.cli.output import EXIT_NO, AsJson, Author, err, out, plain, print_json, run_async
from evoline.cli.progress import Progress, text_of
from evoline.cli.runs import print_run
from evoline.client.api import new_id
from evoline.client.connection import connected
from evoline.client.control import Answer, RunControl
from shared.events.runs import ForkRun, GetRun, RunSuspended

RunId = Annotated[str, typer.Argument(help="Id of the run.")]
Reason = Annotated[str, typer.Option(help="Kept with the run.")]
Timeout = Annotated[float, typer.Option(help="Seconds to wait for the end.")]
FOLLOW_SECONDS = 1.0
GOES_ON = ("running", "waiting")


def pause(run_id: RunId, reason: Reason = "", author: Author = "", as_json: AsJson = False) -> None:
    """Suspend a run before its next step and free its place. A step that takes long is cut off and executed again later."""
    _show(_answer(author, lambda control, _: control.pause(run_id, reason), as_json), as_json)


def resume(run_id: RunId, reason: Reason = "", timeout: Timeout = 330.0, author: Author = "", as_json: AsJson = False) -> None:
    """Go on with a paused run, or at once with one that waits, and wait for its end."""
    _show(
        _answer(
            author,
            lambda control, progress: control.resume(run_id, reason, on_fact=progress.on_fact, timeout_seconds=timeout),
            as_json,
        ),
        as_json,
    )


def retry(run_id: RunId, reason: Reason = "", timeout: Timeout = 330.0, author: Author = "", as_json: AsJson = False) -> None:
    """Go on with a run that ended without success: the failed step and what follows; finished steps are kept."""
    _show(
        _answer(
            author,
            lambda control, progress: control.retry(run_id, reason, on_fact=progress.on_fact, timeout_seconds=timeout),
            as_json,
        ),
        as_json,
    )


def fork(  # noqa: PLR0913  one option each
    run_id: RunId,
    from_step: Annotated[
        str, typer.Option("--from", help="First step that the fork executes itself; default: the first that did not finish.")
    ] = "",
    inputs: Annotated[
        list[str] | None,
        typer.Option("--input", "-i", help="Replace an input: JSON object, @FILE, key=text or key:=JSON; repeatable."),
    ] = None,
    pipeline: Annotated[str | None, typer.Option(help="Another revision, as NAME@DIGEST or NAME@stable.")] = None,
    new_run_id: Annotated[str | None, typer.Option("--run-id", help="Your id of the new run; the same id is the same run.")] = None,
    reason: Reason = "",
    timeout: Timeout = 330.0,
    author: Author = "",
    as_json: AsJson = False,
) -> None:
    """Run again from a step on, on other inputs or another revision; what came before is taken over as it was."""
    command = ForkRun(
        run_id=run_id,
        new_run_id=new_run_id or new_id("fork"),
        from_step=from_step,
        inputs=read_inputs(inputs or []),
        pipeline=pipeline,
        reason=reason,
    )
    _show(
        _answer(
            author, lambda control, progress: control.fork(command, on_fact=progress.on_fact, timeout_seconds=timeout), as_json
        ),
        as_json,
    )


def journal(
    run_id: RunId,
    follow: Annotated[bool, typer.Option("--follow", "-f", help="Go on until the run ends or is paused.")] = False,
    as_json: AsJson = False,
) -> None:
    """Print what a run did: each finished step with its time, status, attempts, usage and error."""
    run_async(_journal(run_id, follow, as_json))


def _answer(author: str, act: Callable[[RunControl, Progress], Awaitable[Answer]], quiet: bool) -> Answer:
    async def work(progress: Progress) -> Answer:
        async with connected(author=author) as client:
            return await act(RunControl(client.bus, author=client.author), progress)

    with Progress(quiet=quiet) as progress:
        return run_async(work(progress))


def _show(answer: Answer, as_json: bool) -> None:
    """Exit code 1 unless the run succeeded, or is suspended as it should be."""
    if as_json:
        print_json(answer)
    elif isinstance(answer, RunSuspended):
        out().print(plain(f"run {answer.run_id}: {text_of(answer)}"))
        err().print(f"go on: evoline resume {answer.run_id}")
    else:
        print_run(answer)
    if not isinstance(answer, RunSuspended) and answer.status != "succeeded":
        raise SystemExit(EXIT_NO)


async def _journal(run_id: str, follow: bool, as_json: bool) -> None:
    told = 0
    async with connected() as client:
        while True:
            record = await client.ask(GetRun(run_id=run_id, steps_from=told))
            for line in record["steps"]:
                print_json(line) if as_json else typer.echo(_line(line))
            told += len(record["steps"])
            if record["steps"] and told < record["steps_total"]:
                continue
            if not follow or record["status"] not in GOES_ON:
                break
            await asyncio.sleep(FOLLOW_SECONDS)
    if not as_json:
        err().print(plain(_state(record)))


def _line(step: Mapping[str, Any]) -> str:
    usage, attempts = step["usage"], step.get("attempts", 1)
    parts = [
        str(step.get("at") or "")[:23],
        f"{step['position']:<24}",
        f"{step['status'] if step.get('live', True) else 'retried':<9}",
        f"{step.get('latency_seconds', 0):7.3f} s",
    ]
    if attempts > 1:
        parts.append(f"{attempts} attempts")
    if usage["calls"]:
        parts.append(f"{usage['calls']} calls, {usage['input_tokens']}+{usage['output_tokens']} tokens")
    if step.get("model"):
        parts.append(str(step["model"]))
    if step.get("error"):
        parts.append(f"[{step.get('error_code', '')}] {step['error']}")
    return "  ".join(parts)


def _state(record: Mapping[str, Any]) -> str:
    suspended = record.get("suspended", {})
    until = f" until {suspended['until']}" if suspended.get("until") else ""
    controls = "".join(f"; {each['verb']} by {each['author']}" for each in record.get("controls", ()))
    return f"run {record['run_id']} of {record['pipeline']}: {record['status']}{until}{controls}"
