"""All commands under their names."""

from __future__ import annotations

from evoline.cli.loading import LazyGroup, Place

HELP = """Generates LLM pipelines, runs them durably, proves that a change is better before it ships, takes it back at once.

Start with: evoline up, then: evoline generate --domain support --requirements "..." --dataset cases.jsonl

Exit codes: 0 done; 1 the answer is no, or the input is invalid; 2 wrong usage or configuration; 3 something needed is
unavailable; 4 a fault of Evoline itself; 130 Ctrl-C. EVOLINE_DEBUG=1 shows tracebacks."""

PLACES = (
    Place("up", "evoline.cli.stack", "up"),
    Place("down", "evoline.cli.stack", "down"),
    Place("status", "evoline.cli.stack", "status"),
    Place("logs", "evoline.cli.stack", "logs"),
    Place("demo", "evoline.cli.demo", "demo"),
    Place("generate", "evoline.cli.generation", "generate"),
    Place("run", "evoline.cli.runs", "run"),
    Place("runs", "evoline.cli.runs", "runs"),
    Place("cancel", "evoline.cli.runs", "cancel"),
    Place("pause", "evoline.cli.control", "pause"),
    Place("resume", "evoline.cli.control", "resume"),
    Place("retry", "evoline.cli.control", "retry"),
    Place("fork", "evoline.cli.control", "fork"),
    Place("journal", "evoline.cli.control", "journal"),
    Place("export", "evoline.cli.transfer", "export"),
    Place("import", "evoline.cli.transfer", "import_"),
    Place("pipelines", "evoline.cli.pipelines", "pipelines"),
    Place("datasets", "evoline.cli.datasets", "datasets"),
    Place("show", "evoline.cli.showing", "show"),
    Place("validate", "evoline.cli.validation", "validate"),
    Place("propose", "evoline.cli.proposing", "propose"),
    Place("promote", "evoline.cli.promoting", "promote"),
    Place("rollback", "evoline.cli.reviews", "rollback"),
    Place("maturity", "evoline.cli.policies", "maturity"),
    Place("quarantine", "evoline.cli.quarantine", "quarantine"),
    Place("release", "evoline.cli.quarantine", "release"),
    Place("freeze", "evoline.cli.freezing", "freeze"),
    Place("unfreeze", "evoline.cli.freezing", "unfreeze"),
    Place("report", "evoline.cli.rollouts", "report"),
    Place("measure", "evoline.cli.improvement", "measure"),
    Place("evolve", "evoline.cli.evolving", "evolve"),
    Place("stop", "evoline.cli.stopping", "stop"),
    Place("lineage", "evoline.cli.lineage", "lineage"),
    Place("learn", "evoline.cli.improvement", "learn"),
    Place("strategies", "evoline.cli.strategies", "strategies"),
    Place("version", "evoline.cli.version", "version"),
    Place("review", "evoline.cli.reviews", group_help="Changes that wait for people."),
    Place("policy", "evoline.cli.policies", group_help="The rules that every change is judged by."),
    Place("experiment", "evoline.cli.experiments", group_help="Variants of a pipeline, compared on the same cases."),
    Place("rollout", "evoline.cli.rollouts", group_help="Revisions that take over step by step."),
    Place("audit", "evoline.cli.audit", group_help="Who decided what, and proof that nobody changed it since."),
    Place("budget", "evoline.cli.budgets", group_help="What is used, reserved and left today, and what a search would cost."),
    Place("bus", "evoline.cli.bus", group_help="Streams, consumers and dead letters of the broker."),
    Place("cassette", "evoline.cli.cassette", group_help="Recorded model calls."),
    Place("keys", "evoline.cli.keys", group_help="The guardrail's signing keys."),
    Place("secrets", "evoline.cli.secrets", group_help="Keys and passwords of the broker's and the store's users."),
    Place("store", "evoline.cli.store", group_help="Users of the document store."),
    Place("people", "evoline.cli.people", group_help="Who may sign, and with which roles."),
    Place("model", "evoline.cli.model", group_help="The local language model."),
)
"""In the order of the help."""


def build() -> LazyGroup:
    return LazyGroup(
        PLACES,
        help=HELP,
        no_args_is_help=True,
        rich_markup_mode=None,
        context_settings={"help_option_names": ["-h", "--help"]},
    )
