"""`evoline show KIND ID`: everything that is known about one thing."""

from __future__ import annotations

import contextlib
from enum import StrEnum
from typing import Annotated, Any

import typer
import yaml
from pydantic import ValidationError

from evoline.cli.output import AsJson, print_json, run_async
from evoline.client.connection import connected
from shared.errors import ConfigurationError, NotFoundError
from shared.events import Query
from shared.events.answers import Answered
from shared.events.changes import GetChange
from shared.events.deployments import GetPipeline
from shared.events.experiments import GetExperiment
from shared.events.generation import GetRequest
from shared.events.improvement import GetEvolution
from shared.events.runs import GetRun


class Kind(StrEnum):
    RUN = "run"
    PIPELINE = "pipeline"
    REQUEST = "request"
    CHANGE = "change"
    EVOLUTION = "evolution"
    EXPERIMENT = "experiment"


def show(
    what: Annotated[
        list[str], typer.Argument(metavar="[KIND] ID", help="KIND is run, pipeline, request, change, evolution, experiment.")
    ],
    as_json: AsJson = False,
) -> None:
    """Show a run with its journal, a pipeline with its revisions and document, a request, a change, an evolution, an experiment.

    Without KIND the first thing of that id is shown, sought in the order above."""
    found = run_async(_find(*_kind_and_id(what)))
    if as_json:
        print_json(found)
    else:
        typer.echo(as_yaml(found), nl=False)


def _kind_and_id(words: list[str]) -> tuple[Kind | None, str]:
    if len(words) == 1:
        return None, words[0]
    if len(words) == 2 and words[0] in set(Kind):
        return Kind(words[0]), words[1]
    raise ConfigurationError(f"evoline show {' '.join(words)}: give ID, or KIND ID with KIND one of {', '.join(Kind)}")


def query_for(kind: Kind, name: str) -> Query:
    """Raises ValidationError where the id cannot be one."""
    match kind:
        case Kind.RUN:
            return GetRun(run_id=name)
        case Kind.PIPELINE:
            return GetPipeline(pipeline=name, undeployed_too=True)
        case Kind.REQUEST:
            return GetRequest(request_id=name)
        case Kind.CHANGE:
            return GetChange(change_id=name)
        case Kind.EVOLUTION:
            return GetEvolution(evolution_id=name)
        case Kind.EXPERIMENT:
            return GetExperiment(experiment_id=name)


async def _find(kind: Kind | None, name: str) -> dict[str, Any]:
    async with connected() as client:
        if kind is not None:
            return await client.ask(query_for(kind, name))
        for each in Kind:
            with contextlib.suppress(NotFoundError, ValidationError):
                return await client.ask(query_for(each, name))
    raise NotFoundError(f"no run, pipeline, request, change, evolution or experiment has the id {name!r}")


class _Dumper(yaml.SafeDumper):
    """Texts of several lines as blocks, as people write them."""


def _text(dumper: yaml.SafeDumper, text: str) -> yaml.ScalarNode:
    return dumper.represent_scalar("tag:yaml.org,2002:str", text, style="|" if "\n" in text else None)


def _answer(dumper: yaml.SafeDumper, answer: Answered) -> yaml.MappingNode:
    return dumper.represent_dict(answer)


_Dumper.add_representer(str, _text)
_Dumper.add_representer(Answered, _answer)


class _PlainDumper(_Dumper):
    """Writes out what stands twice: people compare and edit it."""

    def ignore_aliases(self, data: Any) -> bool:
        return True


def as_yaml(value: Any) -> str:
    return yaml.dump(value, Dumper=_PlainDumper, sort_keys=False, allow_unicode=True, width=110)
