"""`docs/events.md`: the catalogue for people."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence

from shared.messaging.catalogue.description import Described, Field, Part
from shared.messaging.topology import MAX_BODY_BYTES, STREAMS

HEAD = f"""# Messages

Generated from the classes in `shared/events` by `python -m shared.messaging.catalogue`; do not edit.

Bodies are JSON objects of at most {MAX_BODY_BYTES:,} bytes. Any NATS client may publish a command: the body alone is enough,
but for those that decide something: they are signed by three headers more ([identities.md](identities.md), with a 20-line example).
A `Nats-Msg-Id` header makes a repeat within two minutes one message; `traceparent` (W3C) continues a trace. Unknown fields of
commands and queries are refused; readers of facts ignore fields that they do not know.

- **Commands** (`cmd.<service>.<verb>`) wait in a work queue until they are done. One that is malformed or fails for good is
  dead-lettered, and its sender sees it as `CommandRefused`, found by the id in the body (`correlation_id`).
- **Facts** (`evt.<noun>.<past_verb>`) say what happened; each is stored once and readable for 30 days.
- **Queries** (`api.<service>.<what>`) are asked with request-reply. The answer is `{{"ok": true, "data": {{...}}}}` or
  `{{"ok": false, "error": {{"code": "...", "message": "...", "problems": [...]}}}}`.

## Streams

| stream | subjects | keeps | purpose |
|---|---|---|---|
"""


def render(messages: Sequence[Described], parts_of_messages: Sequence[Part]) -> str:
    parts = [HEAD, *_streams(), "\n## All messages\n\n", *_index(messages)]
    for kind, title in (("command", "Commands"), ("fact", "Facts"), ("query", "Queries")):
        parts.append(f"\n## {title}\n")
        parts += [_section(message) for message in messages if message.kind == kind]
    parts.append("\n## Parts of messages\n")
    parts += [_part(part) for part in parts_of_messages]
    return "".join(parts)


def _streams() -> Iterable[str]:
    for stream in STREAMS:
        keeps = f"{stream.max_age.days} days" if stream.max_age else "until done"
        subjects = ", ".join(f"`{subject}`" for subject in stream.subjects or (stream.copies,))
        yield f"| `{stream.name}` | {subjects} | {keeps} | {stream.purpose} |\n"


def _index(messages: Sequence[Described]) -> Iterable[str]:
    yield "| message | subject | from | to |\n|---|---|---|---|\n"
    for message in messages:
        name = f"[{message.name}](#{message.name.lower()})"
        yield f"| {name} | `{message.subject}` | {_names(message.emitters)} | {_names(message.consumers) or 'followers only'} |\n"


def _names(names: Sequence[str]) -> str:
    return ", ".join("every service" if name == "*" else name for name in names)


def _section(message: Described) -> str:
    durable = f" through `{'`, `'.join(message.durables)}`" if message.durables else ""
    takers = f"{_names(message.consumers) or 'followers'}{durable}"
    lines = [
        f"\n### {message.name}\n",
        f"\n`{message.subject}`: from {_names(message.emitters)} to {takers}.\n",
        f"\n{message.meaning}\n" if message.meaning else "",
        *_table(message.fields),
        f"\n```json\n{json.dumps(message.example, indent=2)}\n```\n",
    ]
    return "".join(lines)


def _part(part: Part) -> str:
    return "".join((f"\n### {part.name}\n", f"\n{part.meaning}\n" if part.meaning else "", *_table(part.fields)))


def _table(fields: Sequence[Field]) -> Iterable[str]:
    yield "\n| field | type | default | meaning |\n|---|---|---|---|\n"
    yield from (_row(field) for field in fields)


def _row(field: Field) -> str:
    default = "required" if field.required else f"`{field.default}`" if field.default else ""
    cells = (f"`{field.name}`", field.type, default, field.meaning)
    return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |\n"
