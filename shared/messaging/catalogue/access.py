"""`docs/permissions.md`: what each user of the broker may do, for people."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from shared.messaging.permissions import Permissions

HEAD = """# Who may do what on the broker

Generated from `shared/messaging/topology.py` by `python -m shared.messaging.catalogue`; do not edit. The server's configuration
is made from it by `evoline secrets create`; `evoline bus permissions --json` prints it. Why: [security.md](security.md).

`SUBJECT QUEUE` may be subscribed in that queue only. *Answers* means: one answer into the box that a question brought.
"""
GROUPS = (
    ("facts", "evt."),
    ("commands", "cmd."),
    ("questions", "api."),
    ("timers", "timer."),
    ("dead letters", "dlq."),
    ("calls of the broker", "$JS."),
    ("values", "$O."),
    ("limits", "$KV."),
)
"""What a subject is, by how it begins; the rest goes with its stream or bucket."""


def render(table: Sequence[Permissions]) -> str:
    return HEAD + "".join(line for each in table for line in _section(each))


def _section(permitted: Permissions) -> Iterable[str]:
    yield f"\n## {permitted.role}\n\n| may | subjects |\n|---|---|\n"
    for name, begin in (*GROUPS, ("other", "")):
        subjects = [subject for subject in permitted.publish if _group(subject) == begin]
        if subjects:
            yield f"| publish {name} | {_list(subjects)} |\n"
    yield f"| subscribe | {_list(permitted.subscribe)} |\n"
    if permitted.answers:
        yield "| answers | what it is asked |\n"


def _group(subject: str) -> str:
    return next((begin for _, begin in GROUPS if subject.startswith(begin)), "")


def _list(subjects: Sequence[str]) -> str:
    return ", ".join(f"`{subject}`" for subject in subjects)
