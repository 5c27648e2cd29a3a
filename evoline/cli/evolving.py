"""`evoline evolve`: a search for a better revision that goes on by itself, and that the same command comes back to."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, get_args

import typer

from evoline.cli.evolution_view import EvolutionView
from evoline.cli.generation import register_file, score_text
from evoline.cli.output import EXIT_NO, AsJson, Author, out, plain, print_json, run_async
from evoline.client.api import Client, new_id
from evoline.client.connection import connected
from evoline.client.datasets import read_cases
from evoline.client.evolutions import Evolutions, Standing, same_id
from evoline.client.lineage import Lineages
from evoline.sealed_gain import SealedGain
from shared.errors import InvalidInputError, Problem
from shared.events.deployments import GetPipeline
from shared.events.experiments import ExperimentFinished
from shared.events.improvement import EvolutionFinished, EvolutionProgressed, StartEvolution

STRATEGIES: tuple[str, ...] = get_args(StartEvolution.model_fields["strategy"].annotation)
UNSUCCESSFUL = frozenset(("rejected", "vetoed", "no_candidate", "refused", "stopped"))


def _known_strategy(name: str) -> str:
    if name not in STRATEGIES:
        raise typer.BadParameter(f"{name!r} is none of {', '.join(STRATEGIES)}")
    return name


def _weight(text: str) -> tuple[str, float]:
    name, _, points = text.partition("=")
    try:
        return name, float(points)
    except ValueError:
        raise InvalidInputError(Problem(path="--weigh", reason=f"{text!r} is no weight", suggestion="write cost=0.05")) from None


def evolve(  # noqa: PLR0913 - the options of the command line
    pipeline: Annotated[str, typer.Argument(help="Name of a deployed pipeline.")],
    dataset_file: Annotated[
        Path | None, typer.Option("--dataset", help="JSON lines {id, input, expected}; registered and split if it was not before.")
    ] = None,
    dataset_id: Annotated[str | None, typer.Option("--dataset-id", help="A data set registered before.")] = None,
    evaluations: Annotated[
        int, typer.Option("--budget", "--evaluations", min=1, max=100_000, help="Runs of candidates; never passed.")
    ] = 300,
    strategy: Annotated[str, typer.Option(help=f"One of {', '.join(STRATEGIES)}.", callback=_known_strategy)] = "guided",
    generations: Annotated[int, typer.Option(min=1, max=1000, help="Of the genetic algorithm.")] = 5,
    population: Annotated[int, typer.Option(min=2, max=1000, help="Of the genetic algorithm.")] = 50,
    seconds: Annotated[float, typer.Option(help="Time for the search.")] = 600.0,
    seed: Annotated[int, typer.Option(help="Makes the search repeatable.")] = 0,
    borrow: Annotated[list[str] | None, typer.Option(help="A deployed pipeline whose steps may be taken over; repeatable.")] = None,
    fault_cases: Annotated[
        int, typer.Option(min=0, max=200, help="Cases on which finalists run while 30% of their calls fail: their robustness.")
    ] = 0,
    weigh: Annotated[
        list[str] | None,
        typer.Option(metavar="OBJECTIVE=POINTS", help="What the final choice gives for cost, latency or robustness, as cost=0.05."),
    ] = None,
    new: Annotated[bool, typer.Option("--new", help="Another evolution, although the same was asked for before.")] = False,
    evolution_id: Annotated[str, typer.Option("--id", help="Of the evolution; default: made of all that is asked for.")] = "",
    report: Annotated[
        Path | None, typer.Option(metavar="DIR", help="Write pictures and a page: gain over budget, front, lineage.")
    ] = None,
    author: Author = "",
    as_json: AsJson = False,
) -> None:
    """Search for a better revision and let the sealed gate judge it. Exit code 1 where nothing was certified or put forward.

    The same command again comes back to the same evolution: follows it, or shows its end. Ctrl-C leaves it running."""
    fields = {
        "evolution_id": "made-below",
        "pipeline": pipeline,
        "dataset_id": dataset_id or "made-below",
        "evaluations": evaluations,
        "strategy": strategy,
        "generations": generations,
        "population": population,
        "seconds": seconds,
        "seed": seed,
        "borrow_from": borrow or [],
        "fault_cases": fault_cases,
        "weights": dict(map(_weight, weigh or [])),
        "author": author,
    }
    StartEvolution.model_validate(fields)
    if (dataset_file is None) == (dataset_id is None):
        raise InvalidInputError(Problem(reason="exactly one of --dataset and --dataset-id is needed"))
    if new and evolution_id:
        raise InvalidInputError(Problem(path="--new", reason="--id names one evolution, --new asks for another: give one of them"))
    if dataset_file is not None:
        read_cases(dataset_file)  # told before anything is started
    if report is not None:
        from evoline.plots.style import require_matplotlib  # for whoever wants pictures

        require_matplotlib()
    order = _Order(fields, dataset_file, new_id("evolution") if new else evolution_id, is_new=new, report=report)
    with EvolutionView(f"of {pipeline}", quiet=as_json) as view:
        finished = run_async(order.carry_out(view))
    if as_json:
        print_json(finished)
    else:
        print_evolution(finished)
    if finished.verdict in UNSUCCESSFUL:
        raise SystemExit(EXIT_NO)


@dataclass
class _Order:
    """What was asked for. `evolution_id` empty: made of it."""

    fields: dict[str, Any]
    file: Path | None
    evolution_id: str
    is_new: bool
    report: Path | None = None

    async def carry_out(self, view: EvolutionView) -> EvolutionFinished:
        async with connected(author=self.fields["author"]) as client:
            command = await self._command(client)
            view.title(f"{command.evolution_id} of {command.pipeline}, {command.strategy}")
            try:
                finished = await Evolutions(client).start_or_follow(
                    command, on_fact=view.on_fact, on_standing=lambda standing: self._meet(standing, command, view)
                )
                if self.report is not None:
                    await self._write_report(client, command.evolution_id, self.report, view)
                return finished
            except asyncio.CancelledError:
                view.stop()
                view.say(f"{command.evolution_id} goes on without you. Follow it: {self._way_back(command)}")
                view.say(f"look: evoline lineage {command.evolution_id}")
                raise

    async def _command(self, client: Client) -> StartEvolution:
        domain = (await client.ask(GetPipeline(pipeline=self.fields["pipeline"]))).get("domain", "general")
        if self.file is not None:
            self.fields["dataset_id"] = await register_file(client, self.file, domain, None)
        command = StartEvolution.model_validate(self.fields)
        return command.model_copy(update={"evolution_id": self.evolution_id or same_id(command)})

    def _meet(self, standing: Standing, command: StartEvolution, view: EvolutionView) -> None:
        began = str(standing.record.get("created_at", ""))[:19]
        if standing.state == "ended":
            view.line(f"{command.evolution_id} began at {began} and has ended; --new starts another")
        elif standing.state == "under way":
            view.line(f"{command.evolution_id} goes on since {began}")
            if known := standing.record.get("progress"):
                view.on_fact(EvolutionProgressed.model_validate(known))

    async def _write_report(self, client: Client, evolution_id: str, directory: Path, view: EvolutionView) -> None:
        from evoline.plots.report import write_report  # matplotlib, for whoever wants pictures
        from evoline.plots.story import of_evolution

        record = await Evolutions(client).get(evolution_id)
        lineage = await Lineages(client, candidates=1000).of_evolution(evolution_id)
        files = write_report(of_evolution(record, lineage), directory)
        view.line(f"wrote {', '.join(map(str, files))}")

    def _way_back(self, command: StartEvolution) -> str:
        return f"the same command with --id {command.evolution_id} instead of --new" if self.is_new else "the same command again"


def whose_veto(finished: EvolutionFinished | ExperimentFinished) -> str:
    """Who said no, and what the sealed cases had shown; empty where nobody did, or the gate itself rejected it."""
    if finished.vetoed_by == "" or finished.gate_verdict == "rejected":
        return ""
    seen = f"the sealed cases said {finished.gate_verdict}" if finished.gate_verdict else "nothing was measured on the sealed cases"
    return f" by {finished.vetoed_by} ({seen})"


def print_evolution(finished: EvolutionFinished) -> None:
    stopped = plain(whose_veto(finished))
    out().print(
        f"[bold]{finished.verdict}[/bold]{stopped} after {finished.evaluations} evaluations of {finished.candidates} candidates"
    )
    if finished.search_seed or finished.search_best:
        out().print(plain(f"search: {score_text(finished.search_seed)} -> {score_text(finished.search_best)}"))
    if gain := SealedGain.of(finished.model_dump()):
        out().print(plain(f"sealed gain: {gain}"))
    for reason in dict.fromkeys(map(str, (*finished.reasons, *finished.problems))):  # a refusal tells both
        out().print(f"  {plain(reason)}")
    if finished.rollout_id:
        out().print(plain(f"rollout: evoline rollout status {finished.rollout_id} --watch"))
    out().print(plain(f"deployed: {'yes' if finished.deployed else 'no'}; look: evoline lineage {finished.evolution_id}"))
