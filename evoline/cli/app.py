"""All commands under their names."""

from __future__ import annotations

import typer

from evoline.cli import (
    bus,
    cassette,
    control,
    demo,
    generation,
    improvement,
    keys,
    model,
    reviews,
    runs,
    secrets,
    showing,
    stack,
    store,
    transfer,
    validation,
    version,
)

HELP = """Generates LLM pipelines, runs them durably, proves that a change is better before it ships, takes it back at once.

Start with: evoline up, then: evoline generate --domain support --requirements "..." --dataset cases.jsonl

Exit codes: 0 done; 1 the answer is no, or the input is invalid; 2 wrong usage or configuration; 3 something needed is
unavailable; 4 a fault of Evoline itself; 130 Ctrl-C. EVOLINE_DEBUG=1 shows tracebacks."""


def build() -> typer.Typer:
    app = typer.Typer(
        help=HELP,
        no_args_is_help=True,
        add_completion=False,
        pretty_exceptions_enable=False,
        rich_markup_mode=None,
        context_settings={"help_option_names": ["-h", "--help"]},
    )
    _add_stack(app)
    _add_pipelines(app)
    _add_improvement(app)
    app.add_typer(bus.build(), name="bus", help="Streams, consumers and dead letters of the broker.")
    app.add_typer(cassette.build(), name="cassette", help="Recorded model calls.")
    app.add_typer(keys.build(), name="keys", help="The guardrail's signing keys.")
    app.add_typer(secrets.build(), name="secrets", help="Keys and passwords of the broker's and the store's users.")
    app.add_typer(store.build(), name="store", help="Users of the document store.")
    app.add_typer(model.app, name="model", help="The local language model.")
    app.command("version")(version.version)
    return app


def _add_stack(app: typer.Typer) -> None:
    app.command("up")(stack.up)
    app.command("down")(stack.down)
    app.command("status")(stack.status)
    app.command("logs")(stack.logs)
    app.command("demo")(demo.demo)


def _add_pipelines(app: typer.Typer) -> None:
    app.command("generate")(generation.generate)
    app.command("run")(runs.run)
    app.command("runs")(runs.runs)
    app.command("cancel")(runs.cancel)
    app.command("pause")(control.pause)
    app.command("resume")(control.resume)
    app.command("retry")(control.retry)
    app.command("fork")(control.fork)
    app.command("journal")(control.journal)
    app.command("export")(transfer.export)
    app.command("import")(transfer.import_)
    app.command("show")(showing.show)
    app.command("validate")(validation.validate)


def _add_improvement(app: typer.Typer) -> None:
    app.add_typer(reviews.build(), name="review", help="Changes that wait for people.")
    app.command("rollback")(reviews.rollback)
    app.command("measure")(improvement.measure)
    app.command("evolve")(improvement.evolve)
    app.command("learn")(improvement.learn)
