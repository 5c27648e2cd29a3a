"""`evoline measure | learn`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from evoline.cli.generation import register_file, score_text
from evoline.cli.output import AsJson, Author, out, plain, print_json, print_table, run_async
from evoline.cli.progress import Progress
from evoline.client.api import Client, new_id
from evoline.client.connection import connected
from shared.errors import InvalidInputError, Problem
from shared.events.datasets import MeasurePipelines, PipelinesMeasured
from shared.events.improvement import PatternsMined
from shared.pipeline.loading import load_document

DatasetFile = Annotated[Path | None, typer.Option("--dataset", help="JSON lines; registered if it was not before.")]
DatasetId = Annotated[str | None, typer.Option("--dataset-id", help="A data set registered before.")]


def measure(  # noqa: PLR0913 - the options of the command line
    pipelines: Annotated[list[str], typer.Argument(help="Up to four: NAME[@DIGEST] of deployed ones, or document files.")],
    dataset_file: DatasetFile = None,
    dataset_id: DatasetId = None,
    domain: Annotated[str, typer.Option(help="Of a data set file that is new.")] = "general",
    cases: Annotated[int, typer.Option(min=1, max=2000, help="Sealed cases to look at, at most.")] = 60,
    author: Author = "",
    as_json: AsJson = False,
) -> None:
    """Score pipelines on sealed cases, paired on the same ones; the first is the one that the others are compared with."""
    subjects = {_label(each): _subject(each) for each in pipelines}

    async def work() -> PipelinesMeasured:
        async with connected(author=author, must_sign=True) as client:
            wanted = await _dataset(client, dataset_file, dataset_id, domain)
            command = MeasurePipelines(
                measure_id=new_id("measure"), dataset_id=wanted, pipelines=subjects, cases=cases, author=author
            )
            return await client.measure(command, on_fact=progress.on_fact)

    with Progress(quiet=as_json) as progress:
        progress.now("measuring")
        found = run_async(work())
    if as_json:
        print_json(found)
        return
    rows = [(label, score_text(score), _difference(found, label), _usage(found, label)) for label, score in found.scores.items()]
    print_table(("pipeline", "score", "difference", "use a run"), rows, empty="nothing was measured")


def _label(text: str) -> str:
    return Path(text).stem if text.endswith((".yaml", ".yml", ".json")) else text


def _subject(text: str) -> dict[str, Any] | str:
    if not text.endswith((".yaml", ".yml", ".json")):
        return text
    try:
        source = Path(text).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise InvalidInputError(Problem(file=text, reason=f"cannot be read: {error}")) from error
    return load_document(source, file=text).canonical()


async def _dataset(client: Client, file: Path | None, dataset_id: str | None, domain: str) -> str:
    if (file is None) == (dataset_id is None):
        raise InvalidInputError(Problem(reason="exactly one of --dataset and --dataset-id is needed"))
    return dataset_id if dataset_id else await register_file(client, file, domain, None) if file else ""


def _difference(found: PipelinesMeasured, label: str) -> str:
    if label not in found.differences:
        return "-"
    gain, low, high = found.differences[label]
    return f"{gain:+.3f} [{low:+.3f}, {high:+.3f}]"


def _usage(found: PipelinesMeasured, label: str) -> str:
    usage = found.usage.get(label, {})
    return f"{usage.get('calls', 0):.1f} calls, {usage.get('tokens', 0):.0f} tokens, p50 {usage.get('seconds_p50', 0):.2f} s"


def learn(
    domain: Annotated[str | None, typer.Option(help="Only this domain; default: all.")] = None,
    author: Author = "",
    as_json: AsJson = False,
) -> None:
    """Count what successful pipelines have in common."""

    async def work() -> PatternsMined:
        async with connected(author=author) as client:
            return await client.learn(domain)

    found = run_async(work())
    if as_json:
        print_json(found)
        return
    rows = [
        (one.kind, one.text, one.support, f"{one.success_rate:.2f} [{one.low:.2f}, {one.high:.2f}]", f"{one.lift:+.3f}")
        for one in found.patterns
    ]
    print_table(
        ("pattern", "what", "support", "success", "lift"), rows, empty="no patterns yet: run and score some pipelines first"
    )
    out().print(plain(f"from {found.revisions} revisions and {found.runs} runs"))
    for reason in found.reasons:
        out().print(f"  {plain(reason)}")
