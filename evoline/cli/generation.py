"""`evoline generate`: from words and examples to an approved pipeline."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from evoline.cli.arguments import read_examples, read_grader, read_text
from evoline.cli.output import EXIT_NO, AsJson, Author, out, plain, print_json, print_table, run_async
from evoline.cli.progress import Progress
from evoline.client.api import Client, new_id
from evoline.client.connection import connected
from evoline.client.datasets import dataset_id_of, read_cases
from shared.errors import InvalidInputError, NotFoundError, Problem
from shared.events.datasets import GetDataset, RegisterDataset
from shared.events.generation import GeneratePipeline, RequestFinished
from shared.events.values import GraderSpec, Score
from shared.evidence.graders import infer_grader


def generate(  # noqa: PLR0913 - the options of the command line
    requirements: Annotated[
        str, typer.Option("--requirements", "-r", help="What the pipeline shall do: TEXT, @FILE, or - for stdin.")
    ],
    domain: Annotated[str, typer.Option("--domain", "-d", help="Operational domain, as support.")],
    dataset: Annotated[
        Path | None, typer.Option(help="JSON lines {id, input, expected, tags?}; kept and split by the guardrail.")
    ] = None,
    dataset_id: Annotated[str | None, typer.Option(help="A data set registered before.")] = None,
    examples: Annotated[Path | None, typer.Option(help="JSON lines sent along with the request, at most 500.")] = None,
    name: Annotated[str | None, typer.Option(help="Name of the wanted pipeline.")] = None,
    grader: Annotated[str | None, typer.Option(help='KIND or KIND:{"option": ...}; default: inferred from the labels.')] = None,
    seconds: Annotated[float, typer.Option(help="Time for the generation.")] = 60.0,
    calls: Annotated[int, typer.Option(help="Trial runs that the generation may spend.")] = 200,
    max_calls: Annotated[
        int, typer.Option(help="Model calls that one run of the pipeline may make; 0 asks for one without a model.")
    ] = 8,
    request_id: Annotated[str | None, typer.Option(help="Your id of the request; the same id is the same request.")] = None,
    seed: Annotated[int, typer.Option(help="Makes the choice of cases repeatable.")] = 0,
    author: Author = "",
    as_json: AsJson = False,
) -> None:
    """Ask for a pipeline and wait for the verdict. Exit code 0: approved or waiting for people; 1: vetoed, rejected, none found."""
    if sum(each is not None for each in (dataset, dataset_id, examples)) > 1:
        raise InvalidInputError(Problem(reason="--dataset, --dataset-id and --examples exclude each other"))
    fields: dict[str, Any] = {
        "request_id": request_id or new_id("request"),
        "requirements": read_text(requirements, option="--requirements"),
        "domain": domain,
        "name": name,
        "dataset_id": dataset_id,
        "examples": read_examples(examples),
        "grader": read_grader(grader),
        "constraints": {"generation_seconds": seconds, "generation_calls": calls, "max_calls": max_calls},
        "author": author,
        "seed": seed,
    }
    GeneratePipeline.model_validate(fields)
    with Progress(quiet=as_json) as progress:
        finished = run_async(_generate(fields, dataset, progress))
    if as_json:
        print_json(finished)
    else:
        _print_finished(finished)
    if finished.outcome in {"vetoed", "no_candidate"}:
        raise SystemExit(EXIT_NO)


async def _generate(fields: dict[str, Any], dataset: Path | None, progress: Progress) -> RequestFinished:
    async with connected(author=fields["author"]) as client:
        if dataset is not None:
            fields = fields | {"dataset_id": await register_file(client, dataset, fields["domain"], fields["grader"])}
        request = GeneratePipeline.model_validate(fields)
        progress.now(f"request {request.request_id}")
        return await client.generate(request, on_fact=progress.on_fact)


async def register_file(client: Client, path: Path, domain: str, grader: GraderSpec | None) -> str:
    """Hands the file's cases to the guardrail and returns their id; a file that was registered before is left as it is."""
    cases = read_cases(path)
    wanted = dataset_id_of(path, cases)
    try:
        await client.ask(GetDataset(dataset_id=wanted, limit=1))
    except NotFoundError:
        command = RegisterDataset(
            dataset_id=wanted,
            domain=domain,
            cases=cases,
            grader=grader or infer_grader(cases),
            source=path.name,
            author=client.author,
        )
        await client.register_dataset(command)
    return wanted


def _print_finished(finished: RequestFinished) -> None:
    rows = [
        (one.strategy, one.outcome, score_text(one.trial), f"{one.seconds:.1f} s", one.tokens, one.origin, "; ".join(one.reasons))
        for one in finished.candidates
    ]
    print_table(("strategy", "outcome", "trial score", "time", "tokens", "origin", "reasons"), rows, empty="no candidates")
    out().print(
        f"\n[bold]{finished.outcome}[/bold]: {plain(finished.pipeline)} after {finished.seconds:.1f} s, {finished.calls} calls"
    )
    for reason in finished.reasons:
        out().print(f"  {plain(reason)}")
    if finished.outcome == "queued":
        out().print(f"next: evoline review approve {finished.change_id}   (by somebody else than its author)")
    elif finished.outcome == "approved":
        out().print(f"revision {finished.digest}")
        out().print(f"next: evoline show pipeline {finished.pipeline}   evoline run {finished.pipeline} --input key=text")


def score_text(score: Score | None) -> str:
    return f"{score.mean:.3f} [{score.low:.3f}, {score.high:.3f}] n={score.cases}" if score else "-"
