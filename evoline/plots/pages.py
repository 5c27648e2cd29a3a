"""Pages that stand alone: text and pictures inside, no address of any other host."""

from __future__ import annotations

import html
import re
from collections.abc import Iterable, Sequence

from evoline.lineage.tree import Lineage, Node
from evoline.plots.tree import rows_of

_STYLE = """
:root { color-scheme: light; }
body { font: 15px/1.5 system-ui, sans-serif; color: #1a1a1a; background: #fff; }
body { max-width: 1100px; margin: 2rem auto; padding: 0 1rem; }
h1 { font-size: 1.5rem; } h2 { font-size: 1.15rem; margin-top: 2rem; }
.picture { width: 100%; height: auto; }
.scroll { overflow-x: auto; }
table { border-collapse: collapse; font-variant-numeric: tabular-nums; font-size: .9rem; }
th, td { text-align: left; padding: .25rem .8rem .25rem 0; border-bottom: 1px solid #e3e3e3; vertical-align: top; }
code { font-family: ui-monospace, monospace; }
"""
_POLICY = "default-src 'none'; style-src 'unsafe-inline'; img-src data:"
"""Nothing is loaded and nothing runs, whatever a revision's text holds."""
_UNSHOWN = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069\ud800-\udfff]")


def page(title: str, parts: Iterable[str]) -> str:
    """`parts` are HTML; everything that came from outside goes through `escaped` before."""
    body = "\n".join(parts)
    return (
        f'<!doctype html>\n<html lang="en"><head><meta charset="utf-8">\n'
        f'<meta http-equiv="Content-Security-Policy" content="{_POLICY}">\n'
        f'<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>{escaped(title)}</title>\n<style>{_STYLE}</style></head>\n<body>\n<h1>{escaped(title)}</h1>\n{body}\n</body></html>\n"
    )


def escaped(value: object) -> str:
    """Signs that no page may hold, or that would show text in another order than it has, are replaced."""
    return html.escape(_UNSHOWN.sub("\ufffd", "" if value is None else str(value)))


def heading(text: str) -> str:
    return f"<h2>{escaped(text)}</h2>"


def paragraph(text: str) -> str:
    return f"<p>{escaped(text)}</p>"


def figure(svg: str, description: str) -> str:
    return f'<div class="scroll" role="img" aria-label="{escaped(description)}">{svg}</div>'


def table(columns: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    head = "".join(f"<th>{escaped(name)}</th>" for name in columns)
    body = "".join("<tr>" + "".join(f"<td>{escaped(cell)}</td>" for cell in row) + "</tr>\n" for row in rows)
    return f'<div class="scroll"><table><thead><tr>{head}</tr></thead>\n<tbody>{body}</tbody></table></div>'


def lineage_table(lineage: Lineage) -> str:
    rows, left_out = rows_of(lineage, 1000)
    columns = ("revision", "parent", "operator", "change", "score", "cases", "verdict", "status")
    shown = table(columns, (_row(node) for _, node, _ in rows))
    return shown + (paragraph(f"and {left_out} more") if left_out > 0 else "")


def _row(node: Node) -> Sequence[object]:
    score = node.score
    shown = f"{score['mean']:.3f} [{score['low']:.3f}, {score['high']:.3f}]" if score else ""
    gain = f" {node.gain.in_points}" if node.gain else ""
    status = ", ".join(word for word in (node.status, node.serving, "on the front" if node.on_front else "") if word)
    cases = score["cases"] if score else ""
    verdict = f"{node.verdict}{gain}"
    return (node.digest[:12], node.parent[:12], node.operator, node.text, shown, cases, verdict, status)
