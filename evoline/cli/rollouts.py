"""`evoline rollout start | status | pause | resume | approve | abort | complete | list` and `evoline report`."""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path
from typing import Annotated, Any

import typer
import yaml
from pydantic import ValidationError

from evoline.cli.output import AsJson, Author, err, out, plain, print_json, print_table, problems_of, run_async
from evoline.cli.rollout_picture import picture
from evoline.client.api import new_id
from evoline.client.connection import connected
from evoline.client.control import is_known
from evoline.client.rollouts import Rollouts
from shared.errors import InvalidInputError, Problem
from shared.events.rollouts import OutcomeReported, RolloutControlled, RolloutPlan, RolloutVerb

Id = Annotated[str, typer.Argument(metavar="ROLLOUT", help="Id of the rollout, or the pipeline's name for its latest one.")]
Reason = Annotated[str, typer.Option(help="Why; kept in the audit log.")]
WATCH_SECONDS = 2.0


def build() -> typer.Typer:
    app = typer.Typer(no_args_is_help=True, rich_markup_mode=None)
    app.command("start")(start)
    app.command("status")(status)
    app.command("list")(list_rollouts)
    app.command("pause")(pause)
    app.command("resume")(resume)
    app.command("approve")(approve)
    app.command("abort")(abort)
    app.command("complete")(complete)
    return app


def start(
    reference: Annotated[str, typer.Argument(metavar="PIPELINE@DIGEST", help="The approved revision that is to become stable.")],
    plan: Annotated[Path | None, typer.Option(help="JSON or YAML file with the plan; default: the policy's.")] = None,
    rollout_id: Annotated[str, typer.Option("--id", help="Id of the rollout; default: a new one.")] = "",
    reason: Reason = "",
    author: Author = "",
    as_json: AsJson = False,
) -> None:
    """Roll a revision out over the stable one: shadow, 1, 5, 10, 25, 50, 100% by default, each step gated."""
    pipeline, _, digest = reference.partition("@")
    if not digest:
        raise InvalidInputError(f"{reference!r} names no revision: write PIPELINE@DIGEST (`evoline show {pipeline}` lists them)")
    chosen = read_plan(plan) if plan else None

    async def work() -> RolloutControlled:
        async with connected(author=author, must_sign=True) as client:
            rollouts = Rollouts(client.bus, author=author)
            return await rollouts.start(rollout_id or new_id("rollout"), pipeline, digest, plan=chosen, reason=reason)

    _show(run_async(work()), as_json)


def status(
    rollout: Id,
    watch: Annotated[bool, typer.Option("--watch", "-w", help="Show it again whenever it changes, until it is over.")] = False,
    as_json: AsJson = False,
) -> None:
    """Show steps, arms, counts, intervals and what a rollout waits for."""

    async def work() -> None:
        async with connected() as client:
            rollouts, before = Rollouts(client.bus), None
            while True:
                found = await rollouts.get(rollout)
                if found != before:
                    print_json(found) if as_json else _print(found)
                before = found
                if not watch or found["is_over"]:
                    return
                await asyncio.sleep(WATCH_SECONDS)

    run_async(work())


def list_rollouts(
    pipeline: Annotated[str | None, typer.Option(help="Only those of this pipeline.")] = None,
    open_only: Annotated[bool, typer.Option("--open", help="Only those that are not over.")] = False,
    limit: Annotated[int, typer.Option("-n", "--limit", min=1, max=200)] = 20,
    as_json: AsJson = False,
) -> None:
    """List rollouts, newest first."""

    async def work() -> list[dict[str, Any]]:
        async with connected() as client:
            return await Rollouts(client.bus).list(pipeline=pipeline, open_only=open_only, limit=limit)

    found = run_async(work())
    if as_json:
        print_json({"rollouts": found})
        return
    rows = [
        (one["rollout_id"], one["pipeline"], one["canary"][:12], one["state"], f"{one['share']:.0%}", one["waits_for"])
        for one in found
    ]
    print_table(("rollout", "pipeline", "revision", "state", "share", "waits for"), rows, empty="there is no rollout")


def pause(rollout: Id, reason: Reason = "", author: Author = "", as_json: AsJson = False) -> None:
    """Stay at the present share until somebody resumes it; guards go on."""
    _steer(rollout, "pause", reason, author, as_json)


def resume(rollout: Id, reason: Reason = "", author: Author = "", as_json: AsJson = False) -> None:
    """Go on; the signal that paused it is accepted with that."""
    _steer(rollout, "resume", reason, author, as_json)


def approve(
    rollout: Id,
    step: Annotated[
        int | None, typer.Option(min=1, help="Number of the step; default: the one that is shown and asked for.")
    ] = None,
    reason: Reason = "",
    author: Author = "",
    as_json: AsJson = False,
) -> None:
    """Approve a step; the author's approval does not count, nor does one for a step that is over."""
    if step is None:
        found = run_async(_found(rollout))
        rollout, step = found["rollout_id"], _asked_for(found)
    _steer(rollout, "approve_step", reason, author, as_json, step)


def abort(rollout: Id, reason: Reason, author: Author = "", as_json: AsJson = False) -> None:
    """Take the canary away at once, without a judgement on it."""
    _steer(rollout, "abort", reason, author, as_json)


def complete(rollout: Id, reason: Reason, author: Author = "", as_json: AsJson = False) -> None:
    """Make the canary stable at once, whatever steps are left; not for its author."""
    _steer(rollout, "complete_now", reason, author, as_json)


def report(
    run_id: Annotated[str, typer.Argument(metavar="RUN", help="Id of the run.")],
    score: Annotated[float, typer.Argument(min=0, max=1, help="How good its answer was: 0 to 1.")],
    comment: Annotated[str, typer.Option(help="What was good or bad about it.")] = "",
    author: Author = "",
    as_json: AsJson = False,
) -> None:
    """Tell how good a run's answer was; rollouts compare their arms by it. The first report of a run counts."""

    async def work() -> tuple[OutcomeReported, bool]:
        async with connected(author=author, must_sign=True) as client:
            fact = await Rollouts(client.bus, author=author).report(run_id, score, comment)
            return fact, await is_known(client.bus, run_id)

    fact, has_run = run_async(work())
    if as_json:
        print_json(fact)
        return
    out().print(plain(f"{run_id}: {fact.score:g}"))
    if not has_run:
        err().print(plain(f"no run {run_id} is known yet: the report waits 60 days for it; `evoline runs` lists those that are"))
    if fact.score != score:
        err().print(plain(f"it was reported before as {fact.score:g}, which stays"))


def read_plan(file: Path) -> RolloutPlan:
    """Raises `InvalidInputError` for a file that cannot be read, and for a plan that is wrong with all that is."""
    try:
        content = yaml.safe_load(file.read_text())
    except OSError as error:
        raise InvalidInputError(Problem(file=str(file), path="plan", reason=f"cannot be read: {error.strerror}")) from error
    except (UnicodeDecodeError, yaml.YAMLError) as error:
        raise InvalidInputError(f"{file}: {error}") from error
    known = "write a map, as `steps: [{share: 0.5, minutes: 5}, {share: 1.0}]`"
    if not isinstance(content, dict):
        raise InvalidInputError(Problem(file=str(file), path="plan", reason="holds no plan", suggestion=known))
    if fields := sorted(str(name) for name in content.keys() - RolloutPlan.model_fields.keys()):
        reason = f"is no plan of a rollout, which has no {', '.join(fields)}"
        raise InvalidInputError(Problem(file=str(file), path="plan", reason=reason, suggestion=known))
    try:
        return RolloutPlan.model_validate(content)
    except ValidationError as error:
        named = [each.model_copy(update={"file": str(file)}) for each in problems_of(error)]
        raise InvalidInputError(named) from error


def _asked_for(found: dict[str, Any]) -> int:
    """The step that was shown to a person who then said yes: another one may be the present one by now. Raises
    `InvalidInputError` where nobody can be asked."""
    steps, number = found["plan"]["steps"], int(found["step"]) + 1
    if not sys.stdin.isatty():
        named = f"`evoline rollout approve {found['rollout_id']} --step {number}`"
        raise InvalidInputError(f"an approval names the step that was seen; at present that is {number} of {len(steps)}: {named}")
    err().print(plain(picture(found)))
    typer.confirm(f"Approve step {number} of {len(steps)} ({steps[number - 1]['share']:.0%})?", abort=True, err=True)
    return number


async def _found(rollout: str) -> dict[str, Any]:
    async with connected() as client:
        return await Rollouts(client.bus).get(rollout)


def _steer(rollout: str, verb: RolloutVerb, reason: str, author: str, as_json: bool, step: int | None = None) -> None:
    async def work() -> RolloutControlled:
        async with connected(author=author, must_sign=True) as client:
            rollouts = Rollouts(client.bus, author=author)
            known = await rollouts.get(rollout)
            return await rollouts.control(known["rollout_id"], verb, reason, step=step)

    _show(run_async(work()), as_json)


def _show(fact: RolloutControlled, as_json: bool) -> None:
    if as_json:
        print_json(fact)
        return
    waits = f"; waits for {fact.waits_for}" if fact.waits_for else ""
    out().print(plain(f"{fact.rollout_id}: {fact.state} at {fact.share:.0%}{waits}"))


def _print(found: dict[str, Any]) -> None:
    out().print(plain(picture(found)))
