"""`evoline freeze` and `evoline unfreeze`."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from evoline.cli.output import AsJson, Author, err, out, plain, print_json, run_async
from evoline.client.api import Client, new_id
from evoline.client.connection import connected
from evoline.client.recovery import Recovery
from shared.errors import EvolineError, InvalidInputError, NotFoundError, Problem
from shared.events.deployments import GetPipeline
from shared.events.recovery import Freeze, FreezeSystem, SystemFrozen, SystemUnfrozen, UnfreezeSystem


def freeze(
    reason: Annotated[str, typer.Option(help="Why; shown to everybody who meets the freeze, kept in the audit log.")],
    pipeline: Annotated[str | None, typer.Option(help="Freeze this pipeline only.")] = None,
    domain: Annotated[str | None, typer.Option(help="Freeze this domain only.")] = None,
    freeze_id: Annotated[
        str, typer.Option("--id", help="Id of the freeze; the same again changes nothing. Default: a new one.")
    ] = "",
    author: Author = "",
    as_json: AsJson = False,
) -> None:
    """Stop all evolution, generation, experiments and rollouts at once. What serves goes on; rollbacks stay possible.

    Proposals that come meanwhile are kept, and judged in their order after: evoline unfreeze."""
    if pipeline is not None and domain is not None:
        raise InvalidInputError(Problem(path="--domain", reason="freeze a pipeline or a domain, not both at once"))
    command = FreezeSystem(
        freeze_id=freeze_id or new_id("freeze"),
        scope="pipeline" if pipeline else "domain" if domain else "all",
        pipeline=pipeline,
        domain=domain,
        reason=reason,
        author=author,
    )

    async def work() -> tuple[SystemFrozen, bool]:
        async with connected(author=author, must_sign=True) as client:
            fact = await Recovery(client.bus).freeze(command)
            return fact, pipeline is None or await _serves(client, pipeline)

    fact, is_known = run_async(work())
    if not is_known:
        err().print(plain(f"nothing called {pipeline} serves yet: is it the name that you mean? `evoline pipelines` lists them"))
    if as_json:
        print_json(fact)
        return
    extent = "the system" if fact.scope == "all" else f"{fact.scope} {fact.name}"
    out().print(f"[bold red]frozen:[/bold red] {plain(extent)} ({plain(fact.freeze_id)})")
    out().print("stable revisions go on; proposals are kept until: evoline unfreeze")


async def _serves(client: Client, pipeline: str) -> bool:
    """Also where nobody can say: the freeze stands."""
    try:
        await client.ask(GetPipeline(pipeline=pipeline))
    except NotFoundError:
        return False
    except EvolineError:
        return True
    return True


def unfreeze(
    freeze_id: Annotated[
        str | None, typer.Argument(metavar="[FREEZE]", help="Id, from `evoline status`; default: all that stand.")
    ] = None,
    reason: Annotated[str, typer.Option(help="Kept in the audit log.")] = "",
    author: Author = "",
    as_json: AsJson = False,
) -> None:
    """End one freeze, or all of them. What was proposed meanwhile is judged in its order."""
    command = UnfreezeSystem(unfreeze_id=new_id("unfreeze"), freeze_id=freeze_id, reason=reason, author=author)

    async def work() -> tuple[SystemUnfrozen, int]:
        async with connected(author=author, must_sign=True) as client:
            recovery = Recovery(client.bus)
            held = int((await recovery.freezes())["held"])
            return await recovery.unfreeze(command), held

    fact, held = run_async(work())
    if as_json:
        print_json({**fact.model_dump(mode="json"), "held_before": held})
        return
    out().print(plain(f"ended: {', '.join(fact.freeze_ids) or 'nothing was frozen'}"))
    if fact.still:
        out().print(f"[red]still frozen:[/red] {plain(', '.join(fact.still))}")
    elif held:
        out().print("1 change that waited is judged now" if held == 1 else f"{held} changes that waited are judged now")


def standing() -> list[dict[str, Any]]:
    """Freezes that stand, for `evoline status`; none where the guardrail does not answer: its own line says so."""

    async def work() -> list[dict[str, Any]]:
        async with connected() as client:
            found: list[dict[str, Any]] = (await Recovery(client.bus).freezes())["freezes"]
            return found

    try:
        return run_async(work())
    except EvolineError:
        return []


def print_standing(freezes: list[dict[str, Any]]) -> None:
    for each in freezes:
        freeze = Freeze.model_validate(each)
        since = f"since {freeze.at[:19]} by {freeze.author} ({freeze.freeze_id})"
        text = f"{freeze.extent} {since}: {freeze.reason}; end it with: evoline unfreeze"
        out().print(f"[bold red]frozen:[/bold red] {plain(text)}")
