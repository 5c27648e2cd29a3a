"""`evoline lineage`: the tree of revisions, with what made each and how it was judged."""

from __future__ import annotations

import difflib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.tree import Tree

from evoline.cli.output import AsJson, err, out, plain, print_json, print_table, run_async
from evoline.cli.showing import as_yaml
from evoline.client.connection import connected
from evoline.client.lineage import Lineages
from evoline.lineage.tree import Lineage, Node, verdict_on
from evoline.sealed_gain import SealedGain
from shared.errors import InvalidInputError, NotFoundError, Problem

MARKS = {"stable": "[green]● stable[/green]", "canary": "[yellow]◐ canary[/yellow]", "was stable": "○ was stable"}


def lineage(  # noqa: PLR0913 - the options of the command line
    target: Annotated[
        str, typer.Argument(metavar="[PIPELINE|EVOLUTION|DIGEST]", help="Default: the pipelines that were evolved last.")
    ] = "",
    everything: Annotated[bool, typer.Option("--all", help="Also candidates that led nowhere.")] = False,
    evolutions: Annotated[int, typer.Option(min=1, max=50, help="Latest evolutions of the pipeline to look at.")] = 10,
    candidates: Annotated[int, typer.Option(min=1, max=1000, help="Of each evolution, at most; accepted ones first.")] = 60,
    diff: Annotated[str, typer.Option(metavar="DIGEST", help="Show what this revision changed in its parent instead.")] = "",
    html: Annotated[Path | None, typer.Option(metavar="FILE", help="Write the tree as a page of its own.")] = None,
    as_json: AsJson = False,
) -> None:
    """Show where revisions came from: operator, change, scores with intervals, verdict, and what is serving."""
    if diff:
        _show_diff(diff, as_json)
        return

    async def work() -> list[Lineage]:
        async with connected() as client:
            asked = Lineages(client, evolutions=evolutions, candidates=candidates)
            return [await asked.of(target)] if target else await asked.recent()

    found = [each.shown(everything=everything) for each in run_async(work())]
    if html is not None:
        _write(html, found)
    if as_json:
        print_json({"lineages": [told(each) for each in found]})
    elif not found:
        out().print("nothing was evolved yet: evoline evolve PIPELINE --dataset FILE")
    else:
        for each in found:
            _print(each)


def told(found: Lineage) -> dict[str, Any]:
    nodes = [node.told() for node in found.nodes.values()]
    rest = {"promotions": list(found.promotions), "nodes": nodes}
    return {"pipeline": found.pipeline, "evolutions": list(found.evolutions), **rest}


def _print(found: Lineage) -> None:
    rows = [_evolution_row(each) for each in found.evolutions]
    columns = ("evolution", "strategy", "began", "evaluations", "verdict", "sealed gain", "best")
    if rows or not found.promotions:
        print_table(columns, rows, empty=f"{found.pipeline} was not evolved yet")
    if found.promotions:
        titles = ("promotion", "proposed by", "at", "verdict", "sealed gain", "revision")
        print_table(titles, [_promotion_row(each) for each in found.promotions], empty="")
    tree = Tree(f"[bold]{plain(found.pipeline)}[/bold]")
    for root in found.roots:
        _grow(tree, root)
    out().print(tree, soft_wrap=False)  # a line of a tree that is too long would be cut, and with it what serves


def _evolution_row(each: Mapping[str, Any]) -> Sequence[Any]:
    gain = str(SealedGain.of(each) or "-")
    began, best = str(each["created_at"])[:16], str(each.get("best_digest") or "-")[:12]
    verdict = each.get("verdict") if each["status"] == "finished" else each["status"]
    return (each["evolution_id"], each["strategy"], began, each.get("evaluations") or "-", verdict, gain, best)


def _promotion_row(each: Mapping[str, Any]) -> Sequence[Any]:
    whose = f" for {each['requested_by']}" if each["requested_by"] else ""
    group = f" ({each['group_id']})" if each["group_id"] else ""
    gain, at = str(SealedGain.of(each["gate"] or {}) or "-"), str(each["created_at"])[:16]
    return (each["change_id"], f"{each['author']}{whose}{group}", at, verdict_on(each), gain, each["digest"][:12] or "-")


def _grow(branch: Tree, root: Node) -> None:
    """Without recursion: a climb is as deep as it is long."""
    waiting = [(branch, root)]
    while waiting:
        above, node = waiting.pop()
        grown = above.add(_label(node))
        if node.hidden:
            grown.add(f"[dim]and {node.hidden} that led nowhere (--all)[/dim]")
        waiting += [(grown, child) for child in reversed(node.children)]


def _label(node: Node) -> str:
    made = plain(node.made)
    parts = [f"[bold]{node.digest[:12]}[/bold]", made[:160]]
    if node.score:
        parts.append(plain(f"{node.score['mean']:.3f} [{node.score['low']:.3f}, {node.score['high']:.3f}] n={node.score['cases']}"))
    if node.origins:
        parts.append(f"takes from {', '.join(origin[:12] for origin in node.origins)}")
    if node.on_front:
        parts.append("front")
    if node.verdict:
        parts.append(plain(f"{node.judged} {node.gain}" if node.gain else node.judged))
    if node.status == "quarantined":
        parts.append("[red]quarantined[/red]")
    if node.serving:
        parts.append(MARKS[node.serving])
    return "  ".join(parts)


def _show_diff(digest: str, as_json: bool) -> None:
    name, _, prefix = digest.rpartition("@")

    async def work() -> dict[str, Any]:
        async with connected() as client:
            return await Lineages(client).revision(prefix, name)

    found = run_async(work())
    if found["document"] is None:
        search = found["evolution_id"]
        reason = f"{found['digest'][:12]} is of {search}, a search that goes on: its text is kept when that ends"
        raise NotFoundError(f"{reason}; meanwhile: evoline lineage {search}")
    lines = diff_lines(found.get("parent_document"), found["document"], found.get("parent", ""), found["digest"])
    if as_json:
        print_json(
            {key: found.get(key) for key in ("digest", "parent", "pipeline", "operator", "text", "origins")} | {"diff": lines}
        )
        return
    if found.get("parent_document") is None:
        err().print("its parent is not known: all of it is new")
    for line in lines:
        colour = "green" if line.startswith("+") else "red" if line.startswith("-") else "default"
        out().print(f"[{colour}]{plain(line)}[/{colour}]")


def diff_lines(parent: Mapping[str, Any] | None, child: Mapping[str, Any], old: str, new: str) -> list[str]:
    """As `diff -u`, of both documents as YAML."""
    before = as_yaml(dict(parent)).splitlines() if parent else []
    return list(difflib.unified_diff(before, as_yaml(dict(child)).splitlines(), old[:12] or "nothing", new[:12], lineterm=""))


def _write(file: Path, found: Sequence[Lineage]) -> None:
    from evoline.plots.lineage_page import page  # matplotlib, for whoever wants pictures

    try:
        file.write_text(page(found), encoding="utf-8")
    except OSError as error:
        raise InvalidInputError(Problem(file=str(file), reason=f"cannot be written: {error.strerror}")) from error
    err().print(plain(f"wrote {file}"))
