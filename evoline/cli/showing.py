"""`evoline show KIND ID`: everything that is known about one thing."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated, Any

import typer
import yaml

from evoline.cli.output import AsJson, print_json, run_async
from evoline.client.connection import connected
from shared.events import Query
from shared.events.changes import GetChange, GetPipeline
from shared.events.generation import GetRequest
from shared.events.improvement import GetEvolution
from shared.events.runs import GetRun


class Kind(StrEnum):
    RUN = "run"
    PIPELINE = "pipeline"
    REQUEST = "request"
    CHANGE = "change"
    EVOLUTION = "evolution"


def show(
    kind: Annotated[Kind, typer.Argument(help="What it is.")],
    name: Annotated[str, typer.Argument(metavar="ID", help="Its id; for a pipeline NAME or NAME@DIGEST.")],
    as_json: AsJson = False,
) -> None:
    """Show a run with its journal, a pipeline with its revisions and document, a request, a change or an evolution."""
    found = run_async(_ask(query_for(kind, name)))
    if as_json:
        print_json(found)
    else:
        typer.echo(as_yaml(found), nl=False)


def query_for(kind: Kind, name: str) -> Query:
    """Raises ValidationError where the id cannot be one."""
    match kind:
        case Kind.RUN:
            return GetRun(run_id=name)
        case Kind.PIPELINE:
            return GetPipeline(pipeline=name)
        case Kind.REQUEST:
            return GetRequest(request_id=name)
        case Kind.CHANGE:
            return GetChange(change_id=name)
        case Kind.EVOLUTION:
            return GetEvolution(evolution_id=name)


async def _ask(query: Query) -> dict[str, Any]:
    async with connected() as client:
        return await client.ask(query)


class _Dumper(yaml.SafeDumper):
    """Texts of several lines as blocks, as people write them."""


def _text(dumper: yaml.SafeDumper, text: str) -> yaml.ScalarNode:
    return dumper.represent_scalar("tag:yaml.org,2002:str", text, style="|" if "\n" in text else None)


_Dumper.add_representer(str, _text)


def as_yaml(value: Any) -> str:
    return yaml.dump(value, Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=110)
