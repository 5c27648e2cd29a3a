"""`evoline experiment start | show | list`: variants of a pipeline, measured on the same cases, the better one proposed."""

from __future__ import annotations

import asyncio
import hashlib
from pathlib import Path
from typing import Annotated, Any

import typer

from evoline.cli.evolving import whose_veto
from evoline.cli.generation import register_file
from evoline.cli.output import EXIT_NO, AsJson, Author, out, plain, print_json, print_table, run_async
from evoline.cli.progress import Progress
from evoline.cli.proposing import read_document
from evoline.cli.rollouts import read_plan
from evoline.cli.stopping import stop_experiment
from evoline.client.api import Client
from evoline.client.connection import connected
from evoline.client.experiments import Experiments
from evoline.sealed_gain import SealedGain
from shared.errors import InvalidInputError, Problem
from shared.events import Fact
from shared.events.deployments import GetPipeline
from shared.events.experiments import ExperimentFinished, ExperimentProgressed, StartExperiment, Variant, VariantReport
from shared.events.rollouts import RolloutPlan

GRADUAL, BY_POLICY = "gradual", "policy"
MOST_REASONS = 3
"""Of one variant that took no part, as they are printed."""
PASSED = ("certified", "canary", "queued", "rolled_out")


def build() -> typer.Typer:
    app = typer.Typer(no_args_is_help=True, rich_markup_mode=None)
    app.command("start")(start)
    app.command("show")(show)
    app.command("list")(list_experiments)
    app.command("stop")(stop_experiment)
    return app


def start(  # noqa: PLR0913 - the options of the command line
    pipeline: Annotated[str, typer.Argument(help="Name of a deployed pipeline: its stable revision is what variants must beat.")],
    variants: Annotated[list[Path] | None, typer.Argument(metavar="[VARIANT_FILE]...", help="Documents, YAML or JSON.")] = None,
    generate: Annotated[bool, typer.Option("--generate", help="Have `pipeline_ab_testing` make variants (more of them).")] = False,
    dataset_file: Annotated[Path | None, typer.Option("--dataset", help="JSON lines; registered if it was not before.")] = None,
    dataset_id: Annotated[str | None, typer.Option("--dataset-id", help="A data set registered before.")] = None,
    evaluations: Annotated[
        int, typer.Option("--evaluations", "--budget", min=1, max=100_000, help="Runs of a variant or the stable one on a case.")
    ] = 600,
    alpha: Annotated[float, typer.Option(help="Chance of naming a winner where no variant is better.")] = 0.05,
    seconds: Annotated[float, typer.Option(help="Time for making and measuring; the sealed gate comes after it.")] = 900.0,
    seed: Annotated[int, typer.Option(help="Makes the order of cases repeatable.")] = 0,
    rollout: Annotated[
        str, typer.Option(help="How a winner takes over: gradual (shadow and ramp), policy (as policy says), or FILE with a plan.")
    ] = GRADUAL,
    experiment_id: Annotated[
        str, typer.Option("--id", help="The same id and options go on with the same experiment; default: made of them.")
    ] = "",
    author: Author = "",
    as_json: AsJson = False,
) -> None:
    """Measure variants against the stable revision on the same cases; propose the winner, if there is one, through the sealed gate.

    Exit code 1 where nothing was put forward: no winner, refused, rejected by the gate or vetoed. The same command again goes on
    where it was interrupted. Exact paired tests, corrected for the number of variants (Holm), decide whether there is a winner."""
    if (dataset_file is None) == (dataset_id is None):
        raise InvalidInputError(Problem(reason="exactly one of --dataset and --dataset-id is needed"))
    fields: dict[str, Any] = {
        "pipeline": pipeline,
        "variants": [each.model_dump() for each in read_variants(variants or [])],
        "generate": generate,
        "evaluations": evaluations,
        "alpha": alpha,
        "seconds": seconds,
        "seed": seed,
        "rollout": rollout_wish(rollout),
        "author": author,
    }

    async def work() -> ExperimentFinished:
        async with connected(author=author) as client:
            fields["dataset_id"] = dataset_id or await _registered(client, pipeline, dataset_file)
            command = _command(fields, experiment_id)
            progress.now(f"experiment {command.experiment_id}")
            try:
                return await Experiments(client.bus).start(command, on_fact=_shown(progress))
            except asyncio.CancelledError:
                progress.line(f"{command.experiment_id} goes on without you. Follow it: the same command again")
                progress.line(f"look: evoline experiment show {command.experiment_id}")
                raise

    with Progress(quiet=as_json) as progress:
        finished = run_async(work())
    print_json(finished) if as_json else print_experiment(finished)
    if finished.outcome not in PASSED:
        raise SystemExit(EXIT_NO)


def show(experiment_id: Annotated[str, typer.Argument(metavar="EXPERIMENT")], as_json: AsJson = False) -> None:
    """Show what was measured, who won and why, and what became of the winner."""

    async def work() -> dict[str, Any]:
        async with connected() as client:
            return await Experiments(client.bus).get(experiment_id)

    found = run_async(work())
    if as_json:
        print_json(found)
    elif "answer" in found:
        print_experiment(ExperimentFinished.model_validate(found["answer"]))
    else:
        waits = f"; change {found['change_id']} is judged" if found.get("change_id") else ""
        out().print(plain(f"{experiment_id}: {found['status']} since {found['created_at'][:19]}{waits}"))


def list_experiments(
    pipeline: Annotated[str | None, typer.Option(help="Only those of this pipeline.")] = None,
    limit: Annotated[int, typer.Option("-n", "--limit", min=1, max=200)] = 20,
    as_json: AsJson = False,
) -> None:
    """List experiments, newest first."""

    async def work() -> list[dict[str, Any]]:
        async with connected() as client:
            return await Experiments(client.bus).list(pipeline=pipeline, limit=limit)

    found = run_async(work())
    if as_json:
        print_json({"experiments": found})
        return
    rows = [
        (one["experiment_id"], one["pipeline"], one["status"], one["outcome"], one["winner"], one["created_at"][:19])
        for one in found
    ]
    print_table(("experiment", "pipeline", "status", "outcome", "winner", "started"), rows, empty="there is no experiment")


def read_variants(files: list[Path]) -> list[Variant]:
    """Raises InvalidInputError with every problem of every file; the label is the file's name without its ending."""
    found: list[Variant] = []
    problems: list[Problem] = []
    for file in files:
        try:
            found.append(Variant(label=_label(file), document=read_document(file).canonical()))
        except InvalidInputError as error:
            problems += error.problems
    labels = [each.label for each in found]
    for label in sorted({each for each in labels if labels.count(each) > 1}):
        problems.append(Problem(path="variants", reason=f"several files are named {label}", suggestion="rename one"))
    if problems:
        raise InvalidInputError(problems)
    return found


def rollout_wish(text: str) -> dict[str, Any] | None:
    """None: as policy says. Raises InvalidInputError for a file that cannot be read, or holds no plan."""
    if text == BY_POLICY:
        return None
    if text != GRADUAL and not Path(text).exists():
        known = f"write {GRADUAL}, {BY_POLICY}, or the name of a file with a plan"
        raise InvalidInputError(Problem(path="--rollout", reason=f"{text!r} is no way to take over, and no file", suggestion=known))
    plan = RolloutPlan() if text == GRADUAL else read_plan(Path(text))
    return plan.model_dump(mode="json")


def print_experiment(finished: ExperimentFinished) -> None:
    rows = [_row(each) for each in finished.variants]
    columns = ("variant", "revision", "score", "gain seen", "p (Holm)", "verdict", "more cases", "use a run")
    print_table(columns, rows, empty="nothing was measured")
    for each in finished.variants:
        if each.reasons:
            more = f"; and {len(each.reasons) - MOST_REASONS} more (--json)" if len(each.reasons) > MOST_REASONS else ""
            out().print(plain(f"  {each.label}: {'; '.join(each.reasons[:MOST_REASONS])}{more}"))
    winner = f", winner {finished.winner} ({finished.winner_digest[:12]})" if finished.winner else ""
    shows = f"; {finished.cases} cases show gains from {finished.detectable_gain:+.2f}" if finished.detectable_gain else ""
    stopped = whose_veto(finished)
    out().print(
        f"[bold]{finished.outcome}[/bold]{plain(stopped)}{plain(winner)} after {finished.evaluations} evaluations{plain(shows)}"
    )
    if gain := SealedGain.of(finished.model_dump()):
        out().print(plain(f"sealed gain: {gain}"))
    if finished.explanation:
        out().print(plain(f"a model says: {finished.explanation}"))
    for reason in finished.reasons:
        out().print(f"  {plain(reason)}")
    _print_next(finished)


def _print_next(finished: ExperimentFinished) -> None:
    if finished.outcome == "queued":
        out().print(plain(f"next: evoline review show {finished.change_id}; then somebody else: evoline review approve ..."))
    elif finished.rollout_id:
        out().print(plain(f"rollout: evoline rollout status {finished.rollout_id} --watch"))
    out().print(plain(f"deployed: {'yes' if finished.deployed else 'no'}; look: evoline experiment show {finished.experiment_id}"))


def _row(report: VariantReport) -> tuple[str, ...]:
    score = f"{report.score.mean:.3f} n={report.score.cases}" if report.score else "-"
    interval = f" [{report.gain_low:+.3f}, {report.gain_high:+.3f}]" if report.gain_low is not None else ""
    gain = f"{report.gain:+.3f}{interval}" if report.gain is not None else "-"
    adjusted = f"{report.p_adjusted:.4f}" if report.p_adjusted is not None else "-"
    more = str(report.more_cases_needed or "-")
    return report.label, report.digest[:12], score, gain, adjusted, report.verdict, more, _use(report.usage)


def _use(usage: dict[str, float]) -> str:
    return f"{usage['tokens']:.0f} tokens, {usage['cost_usd']:.5f} USD, {usage['seconds']:.2f} s" if usage else "-"


def _shown(progress: Progress) -> Any:
    def on_fact(fact: Fact) -> None:
        if isinstance(fact, ExperimentProgressed):
            text = f"{fact.stage}: {fact.text} ({fact.evaluations}/{fact.evaluations_budget} evaluations)"
            progress.now(text) if fact.stage == "measuring" else progress.line(text)
        else:
            progress.on_fact(fact)

    return on_fact


async def _registered(client: Client, pipeline: str, file: Path | None) -> str:
    assert file is not None, "one of the two options was given"
    domain = (await client.ask(GetPipeline(pipeline=pipeline))).get("domain", "general")
    return await register_file(client, file, domain, None)


def _command(fields: dict[str, Any], experiment_id: str) -> StartExperiment:
    """Without an id, that of the same options: a command that was interrupted is repeated as it was typed."""
    order = StartExperiment.model_validate({**fields, "experiment_id": experiment_id or "unnamed"})
    made = hashlib.sha256(order.model_dump_json().encode()).hexdigest()[:12]
    return order if experiment_id else order.model_copy(update={"experiment_id": f"experiment-{made}"})


def _label(file: Path) -> str:
    return (
        "".join(each if (each.isalnum() and each.isascii()) or each in "_.-" else "_" for each in file.stem)[:62].strip("_.-")
        or "variant"
    )
