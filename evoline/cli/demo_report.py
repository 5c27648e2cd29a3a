"""The demo's report for people."""

from __future__ import annotations

from rich.console import Console

from evoline.cli.output import plain
from evoline.cli.showing import as_yaml
from evoline.demo.report import DemoReport, Evolved, Learned
from evoline.sealed_gain import SealedGain
from shared.events.changes import ChangeApproved, ChangeQueued, ChangeVetoed, GateFinished
from shared.events.generation import CandidateReport
from shared.events.values import Score
from shared.evidence.wording import chance

LONGEST_LINE = 110
MOST_PATTERNS = 5


def print_report(report: DemoReport, console: Console) -> None:
    _title(console, "The pipeline")
    console.print(plain(shortened(as_yaml(report.document))))
    _title(console, "Candidates, tried on training examples")
    for candidate in report.answer.candidates:
        console.print(plain(candidate_line(candidate)))
    _title(console, "Who approved it, and why")
    console.print(plain(verdict_text(report.verdict)))
    _print_scores(report, console)
    _title(console, "What the learner extracted")
    _print_learned(report.learned, console)
    if report.evolved:
        _title(console, "Evolution")
        _print_evolved(report.evolved, console)
    _title(console, "Time")
    console.print(plain(", ".join(f"{name} {seconds:.1f} s" for name, seconds in report.parts.items())))
    _title(console, "Where to look next")
    for line in report.next:
        console.print(f"  {plain(line)}")


def _title(console: Console, text: str) -> None:
    console.print(f"\n[bold]{plain(text)}[/bold]")


def shortened(text: str) -> str:
    """Long lines cut, and a long list of look-up examples folded: the whole document is in the report."""
    lines = [line if len(line) <= LONGEST_LINE else f"{line[: LONGEST_LINE - 1]}…" for line in text.splitlines()]
    if len(lines) <= 60:
        return "\n".join(lines)
    return "\n".join([*lines[:40], f"  … {len(lines) - 55} lines more in the report …", *lines[-15:]])


def candidate_line(candidate: CandidateReport) -> str:
    reasons = f"  ({'; '.join(candidate.reasons)[:160]})" if candidate.reasons else ""
    return f"  {candidate.outcome:<10} {candidate.origin:<32} {score_text(candidate.trial)}{reasons}"


def score_text(score: Score | None) -> str:
    if score is None:
        return "not tried"
    return f"{score.mean:.1%} [{score.low:.1%}, {score.high:.1%}] on {score.cases} cases"


def verdict_text(verdict: ChangeApproved | ChangeVetoed | ChangeQueued) -> str:
    reasons = "; ".join(verdict.reasons) or "no reasons given"
    risk = f"risk {verdict.risk:.2f}"
    if isinstance(verdict, ChangeApproved):
        key = verdict.attestation.key_id
        policy = verdict.policy_revision[:12]
        signed = f"policy {policy}, signed with key {key} until {verdict.attestation.expires_at}"
        return f"  approved by {verdict.approved_by}, {risk}: {reasons}\n  {signed}"
    if isinstance(verdict, ChangeVetoed):
        return f"  vetoed by {verdict.vetoed_by}, {risk}: {reasons}"
    return f"  waits for people, {risk}: {reasons}\n  decide with: evoline review approve {verdict.change_id}"


def _print_scores(report: DemoReport, console: Console) -> None:
    found = report.heldout
    if found is None:
        return
    _title(console, "Score on sealed cases (95% interval)")
    for label, score in found.scores.items():
        use = found.usage.get(label, {})
        cost = ", ".join(f"{name.replace('_', ' ')} {value:.3g}" for name, value in use.items())
        console.print(plain(f"  {label:<10} {score_text(score)}; {cost}"))
    if "pipeline" in found.differences:
        gain, low, high = found.differences["pipeline"]
        console.print(plain(f"  difference {gain:+.1%} [{low:+.1%}, {high:+.1%}], paired on the same cases"))


def _print_learned(learned: Learned, console: Console) -> None:
    mined = learned.mined
    console.print(plain(f"  from {mined.revisions} measured revisions and {mined.runs} runs, {len(mined.patterns)} patterns:"))
    for pattern in mined.patterns[:MOST_PATTERNS]:
        console.print(plain(f"  {pattern.lift:+.1%}  {pattern.text} ({pattern.kind}, {pattern.support} revisions)"))
    template = learned.template
    if template:
        told = (
            f"{template.status} by {template.decided_by or 'nobody yet'}, risk {template.risk:.2f}: {'; '.join(template.reasons)}"
        )
        console.print(plain(f"  template {template.pipeline}: {told}"))
    for reason in mined.reasons:
        console.print(plain(f"  no template: {reason}"))


def _print_evolved(evolved: Evolved, console: Console) -> None:
    finished = evolved.finished
    spent = f"{finished.evaluations} evaluations of {finished.candidates} candidates in {finished.seconds:.0f} s"
    console.print(plain(f"  verdict: {finished.verdict}; {spent}"))
    if finished.search_seed:
        scores = f"stable {score_text(finished.search_seed)}, best {score_text(finished.search_best)}"
        console.print(plain(f"  on fresh search cases: {scores}"))
    for step in finished.lineage:
        if text := str(step.get("text", "")):  # the seed has none
            console.print(plain(f"  {step.get('operator', '')}: {text[:LONGEST_LINE]}"))
    if evolved.gate:
        _print_gate(evolved.gate, console)
    for reason in finished.reasons:
        console.print(plain(f"  {reason}"))
    not_yet = f"rolled out by {finished.rollout_id}" if finished.rollout_id else "not deployed: the stable revision goes on serving"
    console.print(plain("  deployed" if finished.deployed else f"  {not_yet}"))


def _print_gate(gate: GateFinished, console: Console) -> None:
    gain = f"gain {SealedGain.of(gate.model_dump())}, p = {chance(gate.p_value)} against {gate.alpha:.3f}"
    console.print(plain(f"  sealed gate: candidate {score_text(gate.candidate)}"))
    console.print(plain(f"               stable    {score_text(gate.incumbent)}"))
    console.print(plain(f"               {gain}"))
    if gate.more_cases_needed:
        console.print(plain(f"  undecided: about {gate.more_cases_needed} more sealed cases would decide it"))
