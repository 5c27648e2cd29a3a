"""`evoline stop` and `evoline experiment stop`: one search or experiment ends, everything else goes on."""

from __future__ import annotations

from typing import Annotated

import typer

from evoline.cli.output import AsJson, Author, out, plain, print_json, run_async
from evoline.client.connection import connected
from evoline.client.stops import Stops
from shared.events.experiments import ExperimentFinished, StopExperiment
from shared.events.improvement import EvolutionFinished, StopEvolution

Reason = Annotated[str, typer.Option(help="Why; told with its end.")]


def stop(
    evolution_id: Annotated[str, typer.Argument(metavar="EVOLUTION", help="Its id, as `evoline evolve` shows it.")],
    reason: Reason,
    author: Author = "",
    as_json: AsJson = False,
) -> None:
    """Stop one evolution: nothing more of it is run or proposed, what it did not use of its budget is free again.

    For whoever ordered it, operators and admins. An experiment: evoline experiment stop. Everything at once: evoline freeze."""
    command = StopEvolution(evolution_id=evolution_id, reason=reason, author=author)

    async def work() -> EvolutionFinished:
        async with connected(author=author, must_sign=True) as client:
            return await Stops(client.bus).evolution(command)

    _print(run_async(work()), evolution_id, as_json)


def stop_experiment(
    experiment_id: Annotated[str, typer.Argument(metavar="EXPERIMENT", help="`evoline experiment list` lists them.")],
    reason: Reason,
    author: Author = "",
    as_json: AsJson = False,
) -> None:
    """Stop one experiment: nothing more of it is run or proposed, what it did not use of its budget is free again.

    For whoever ordered it, operators and admins. Once its winner is rolled out: evoline rollout."""
    command = StopExperiment(experiment_id=experiment_id, reason=reason, author=author)

    async def work() -> ExperimentFinished:
        async with connected(author=author, must_sign=True) as client:
            return await Stops(client.bus).experiment(command)

    _print(run_async(work()), experiment_id, as_json)


def _print(finished: EvolutionFinished | ExperimentFinished, name: str, as_json: bool) -> None:
    if as_json:
        print_json(finished)
        return
    out().print(plain(f"{name} is stopped after {finished.evaluations} evaluations: {'; '.join(finished.reasons)}"))
