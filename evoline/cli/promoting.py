"""`evoline promote PIPELINE REVISION|FILE`: a revision before the sealed gate, followed to its verdict."""

from __future__ import annotations

import asyncio
import re
from pathlib import Path
from typing import Annotated

import typer

from evoline.cli.experiments import BY_POLICY, rollout_wish
from evoline.cli.generation import register_file
from evoline.cli.output import EXIT_NO, AsJson, Author, out, plain, print_json, run_async
from evoline.cli.progress import Progress, text_of
from evoline.cli.proposing import STANDARD_INPUT, next_step, read_document
from evoline.client import promotions
from evoline.client.connection import connected
from evoline.client.promotions import Promoted, Promotion, revision, serving
from evoline.client.talk import OnFact
from evoline.sealed_gain import SealedGain
from shared.errors import InvalidInputError, Problem
from shared.events.changes import ChangeApproved, ChangeVetoed
from shared.events.rollouts import RolloutPlan
from shared.events.runs import RunFinished
from shared.evidence.wording import chance

DIGEST = re.compile(r"[0-9a-f]{8,64}")


def promote(  # noqa: PLR0913  one parameter an option of the command
    pipeline: Annotated[str, typer.Argument(help="Name of a deployed pipeline.")],
    candidate: Annotated[
        str, typer.Argument(metavar="REVISION|FILE", help="Digest (8 digits or more) or document file; - is stdin.")
    ],
    dataset_file: Annotated[Path | None, typer.Option("--dataset", help="JSON lines; registered if it was not before.")] = None,
    dataset_id: Annotated[str | None, typer.Option("--dataset-id", help="A data set registered before.")] = None,
    rollout: Annotated[
        str, typer.Option(help="How it takes over: policy (as policy says), gradual (shadow and ramp), or FILE with a plan.")
    ] = BY_POLICY,
    reason: Annotated[str, typer.Option(help="Why; shown to reviewers, kept in the audit log.")] = "",
    change_id: Annotated[
        str, typer.Option("--id", help="Id of the change; default: made of the wish, so that the same wish is judged once.")
    ] = "",
    author: Author = "",
    as_json: AsJson = False,
) -> None:
    """Propose a measured revision for promotion: it must beat what serves on the sealed cases of a data set.

    Exit code 0: approved (deployed, or its rollout began) or waiting for people; 1: vetoed. The same command again, while the same
    revision serves, tells the same verdict and takes no second look at the sealed cases; one that was vetoed before anything was
    measured is judged anew."""
    if (dataset_file is None) == (dataset_id is None):
        raise InvalidInputError(Problem(reason="exactly one of --dataset and --dataset-id is needed"))
    plan = rollout_wish(rollout)
    document = None if DIGEST.fullmatch(candidate) else read_document(_file(candidate))

    def tell(known: str) -> None:
        progress.line(f"{known} of {pipeline}; look: evoline show change {known}")
        progress.now(f"{known} on the sealed cases, beside what serves")

    async def work() -> Promoted:
        async with connected(author=author, must_sign=True) as client:
            stable = await serving(client, pipeline)
            wish = Promotion(
                pipeline=pipeline,
                document=document or await revision(client, pipeline, candidate),
                dataset_id=dataset_id or await register_file(client, dataset_file or Path(), stable["domain"], None),
                incumbent=stable["stable"],
                rollout=RolloutPlan.model_validate(plan) if plan else None,
                reason=reason,
            )
            promotions.require_in_use(wish, stable)
            try:
                return await promotions.promote(client, wish, change_id=change_id, on_fact=_shown(progress), on_id=tell)
            except asyncio.CancelledError:
                progress.line("what was proposed by now is judged without you: the same command again tells the verdict")
                raise

    with Progress(quiet=as_json) as progress:
        promoted = run_async(work())
    _tell(promoted, as_json)
    if isinstance(promoted.verdict, ChangeVetoed):
        raise SystemExit(EXIT_NO)


def _shown(progress: Progress) -> OnFact:
    """Runs only: gate and verdict are told at the end, once."""
    return lambda fact: progress.on_fact(fact) if isinstance(fact, RunFinished) else None


def _file(candidate: str) -> Path:
    """Raises InvalidInputError for what is neither a digest nor a file."""
    path = Path(candidate)
    if path == STANDARD_INPUT or path.exists():
        return path
    known = "the first 8 digits of a revision's digest or more (`evoline show PIPELINE`), or a file"
    raise InvalidInputError(Problem(path="REVISION|FILE", reason=f"{candidate!r} is neither a digest nor a file", suggestion=known))


def _tell(promoted: Promoted, as_json: bool) -> None:
    verdict, change = promoted.verdict, promoted.change
    rollout_id, gate = change.get("rollout_id") or "", change.get("gate")
    if as_json:
        fields = {"gate": gate, "rollout_id": rollout_id, "digest": change.get("digest", "")}
        print_json({"verdict": type(verdict).__name__, **verdict.model_dump(mode="json"), **fields})
        return
    out().print(plain(f"{verdict.pipeline}@{change.get('digest', '')[:12]}: {text_of(verdict)}"))
    if gate:
        out().print(plain(f"  sealed gate: {gate['verdict']}, gain {SealedGain.of(gate)}, p = {chance(gate['p_value'])}"))
    if isinstance(verdict, ChangeApproved):
        follow = f"rollout: evoline rollout status {rollout_id} --watch" if rollout_id else "deployed: it serves now"
        out().print(plain(f"  {follow}"))
    out().print(plain(f"  {next_step(verdict)}"))
