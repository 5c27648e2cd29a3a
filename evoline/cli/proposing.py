"""`evoline propose FILE`: a pipeline that somebody wrote or edited, judged like every other change."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from evoline.cli.output import EXIT_NO, AsJson, Author, out, plain, print_json, run_async
from evoline.cli.progress import text_of
from evoline.client.api import Client
from evoline.client.connection import connected
from evoline.client.proposals import PipelineWish, Verdict, propose_pipeline
from shared.errors import InvalidInputError, NotFoundError, Problem, TransientError
from shared.events.changes import ChangeApproved, ChangeVetoed
from shared.events.deployments import GetPipeline
from shared.events.recovery import ChangeHeld
from shared.pipeline.document import Document
from shared.pipeline.loading import load_document

STANDARD_INPUT = Path("-")
GATE_SECONDS = 1800.0
"""The sealed gate runs two pipelines on every sealed case before it tells."""


def propose(  # noqa: PLR0913  one parameter an option of the command
    file: Annotated[Path, typer.Argument(metavar="FILE", help="Pipeline as YAML or JSON; - for standard input.")],
    reason: Annotated[str, typer.Option(help="Why; shown to reviewers, kept in the audit log.")],
    dataset_id: Annotated[
        str | None, typer.Option(help="Prove it first, against what serves, on the sealed cases of this dataset.")
    ] = None,
    deploy: Annotated[
        bool, typer.Option("--deploy/--no-deploy", help="Make it stable when approved; without, `evoline rollout start` can.")
    ] = True,
    parent: Annotated[str | None, typer.Option(help="Digest of the revision that it was made from.")] = None,
    author: Author = "",
    as_json: AsJson = False,
) -> None:
    """Propose a pipeline document: the guardrail judges it, and it serves at once, waits for people, or is vetoed.

    Exit code 1 where it is vetoed. The same document again, while it waits, asks for nothing new."""
    document = read_document(file)
    wish = PipelineWish(reason=reason, dataset_id=dataset_id, deploy=deploy, parent_digest=parent)

    async def work() -> tuple[Verdict, str]:
        async with connected(author=author, must_sign=True) as client:
            verdict = await propose_pipeline(client, document, wish, timeout_seconds=GATE_SECONDS if dataset_id else 60)
            is_only_approved = isinstance(verdict, ChangeApproved) and not deploy
            return verdict, await way_to_serve(client, document) if is_only_approved else ""

    verdict, way = run_async(work())
    tell(verdict, as_json, digest=document.digest, way=way)


async def way_to_serve(client: Client, document: Document) -> str:
    """What makes an approved revision serve: a rollout, where there is something that it takes over from. Empty where nobody can
    say: the verdict stands all the same."""
    try:
        serving = (await client.ask(GetPipeline(pipeline=document.name))).get("stable")
    except NotFoundError:
        serving = None
    except TransientError:
        return ""
    if serving == document.digest:
        return "it serves already"
    if serving:
        return f"does not serve yet: evoline rollout start {document.name}@{document.digest[:12]}"
    return "does not serve yet: the same command without --no-deploy makes a pipeline's first revision serve"


def read_document(file: Path) -> Document:
    """Raises InvalidInputError with every problem and its place."""
    try:
        text = sys.stdin.buffer.read().decode() if file == STANDARD_INPUT else file.read_text(encoding="utf-8")
    except OSError as error:
        raise InvalidInputError(Problem(file=str(file), reason=f"cannot be read: {error.strerror}")) from error
    except UnicodeDecodeError as error:
        raise InvalidInputError(Problem(file=str(file), reason=f"is not UTF-8 text (byte {error.start})")) from error
    return load_document(text, file=str(file))


def tell(verdict: Verdict, as_json: bool, *, digest: str, way: str = "") -> None:
    """`way`: how what is only approved comes to serve."""
    if as_json:
        print_json({"verdict": type(verdict).__name__, **verdict.model_dump(mode="json")})
    else:
        out().print(plain(f"{verdict.pipeline}@{digest[:12]}: {text_of(verdict)}"))
        for line in filter(None, (way, next_step(verdict))):
            out().print(plain(f"  {line}"))
    if isinstance(verdict, ChangeVetoed):
        raise SystemExit(EXIT_NO)


def next_step(verdict: Verdict) -> str:
    if isinstance(verdict, ChangeApproved):
        return f"why: evoline audit why {verdict.change_id}"
    if isinstance(verdict, ChangeVetoed | ChangeHeld):
        return f"all of it: evoline show change {verdict.change_id}"
    return f"look: evoline review show {verdict.change_id}; then somebody else: evoline review approve {verdict.change_id}"
