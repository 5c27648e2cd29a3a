"""The sealed gate's judgement: pure, from grades and answers to a verdict. Why each rule: `docs/policy.md`, "Sealed gate"."""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from services.guardrail.domain.policy import GateRule
from shared.events.changes import GateVerdict
from shared.events.values import Case, GraderSpec, Score
from shared.evidence.graders import grade, grader_hash, normalized_text
from shared.evidence.paired import PairedTest, paired_test
from shared.evidence.scores import score
from shared.evidence.selection import claimable_gain
from shared.evidence.verdicts import HARM_ALPHA, cases_to_decide, harms, unseen_losses
from shared.evidence.wealth import SpendingRule, alpha_of_next_look

COPIED_CHARACTERS = 40
"""A sealed text of at least this length found inside a document is a copy, not a coincidence."""
SHORT_COPIED_CHARACTERS = 8
"""Shorter texts down to this length are one only in number."""
SHORT_COPIED_SHARE = 0.05
SHORTCUT_SHARE = 0.95
"""Of the answers; a candidate that answers so often what a shortcut answers is one, unless it is right where that is wrong."""
SHORTCUT_MISSED_SHARE = 0.5
"""Of the cases whose label is not the shortcut's answer: right labels may be alike, too, where most cases have the same."""


@dataclass(frozen=True)
class Arm:
    """One revision on the sealed cases, in their order. `None`: no gradable answer."""

    digest: str
    grades: tuple[float | None, ...]
    answers: tuple[Any, ...]

    @property
    def failures(self) -> int:
        return sum(each is None for each in self.grades)


@dataclass(frozen=True)
class GateReport:
    verdict: GateVerdict
    candidate: Score
    incumbent: Score
    test: PairedTest
    claim: float | None
    """What may be claimed of the gain; None where it was rejected."""
    alpha: float
    more_cases_needed: int
    reasons: tuple[str, ...]
    probes: Mapping[str, float]
    """Shortcut -> its mean grade on the same cases."""


def judge(candidate: Arm, incumbent: Arm, cases: Sequence[Case], grader: GraderSpec, rule: GateRule, alpha: float) -> GateReport:
    """The verdict of one look that spends `alpha`. Better must be shown; worse, failing or a shortcut rejects; else undecided."""
    test = paired_test(candidate.grades, incumbent.grades, alpha)
    probes = {name: _grades(answers, cases, grader) for name, answers in shortcuts(cases).items()}
    against = _rejections(candidate, incumbent, cases, rule, test)
    doubts = (*unseen_losses(candidate.grades, incumbent.grades, test, alpha), *_doubts(candidate, probes, grader, alpha, test))
    verdict: GateVerdict = "rejected" if against else "canary" if doubts else "certified"
    claim = claimable_gain(test, alpha)
    seen = f"{test.gain:+.3f} [{test.gain_low:+.3f}, {test.gain_high:+.3f}]"
    shown = f"better by {claim:+.3f} claimed, {seen} seen, p = {test.p_value_better:.4f} < {alpha:.4f}"
    return GateReport(
        verdict=verdict,
        candidate=score(candidate.grades, grader_hash(grader)),
        incumbent=score(incumbent.grades, grader_hash(grader)),
        test=test,
        claim=None if against else claim,
        alpha=alpha,
        more_cases_needed=cases_to_decide(test, alpha) if verdict == "canary" else 0,
        reasons=against or doubts or (shown,),
        probes={name: sum(grades) / len(grades) for name, grades in probes.items()},
    )


def alpha_of_look(rule: GateRule, looks_before: int, spent: float) -> float:
    """What the next look may spend: halving from `alpha_first`, within what is left of `alpha_total`; 0 where too little."""
    spending = SpendingRule(total=rule.alpha_total, first=rule.alpha_first, least=rule.alpha_least)
    return alpha_of_next_look(spending, looks_before, spent)


def shortcuts(cases: Sequence[Case]) -> dict[str, list[Any]]:
    """Answers that need no understanding, one list a shortcut: the most frequent label, nothing, the input itself, and all at
    once: every label beside the input."""
    labels = Counter(json.dumps(case.expected, sort_keys=True) for case in cases)
    majority = json.loads(labels.most_common(1)[0][0])
    every = " ".join(_texts_of(json.loads(label)) for label in sorted(labels))
    return {
        "majority": [majority] * len(cases),
        "empty": [""] * len(cases),
        "echo": [_echo(case.input) for case in cases],
        "everything": [f"{every} {_echo(case.input)}" for case in cases],
    }


def copied_cases(document: Mapping[str, Any], cases: Sequence[Case]) -> tuple[str, ...]:
    """Ids of sealed cases whose text stands in the document: it has seen what it must not know. One long text is enough; of short
    ones, which may stand there by chance, it takes more than two and more than 5% of the cases. A short text of several cases,
    such as a category, gives none of them away."""
    held = _plain(json.dumps(document, ensure_ascii=False))
    long = tuple(case.id for case in cases if any(text in held for text in _texts(case.input, COPIED_CHARACTERS)))
    texts = {case.id: set(_texts(case.input, SHORT_COPIED_CHARACTERS)) for case in cases}
    owners = Counter(text for own in texts.values() for text in own)
    copied = {text for text, count in owners.items() if _stands_in(text, held) and (count == 1 or len(text) >= COPIED_CHARACTERS)}
    short = tuple(name for name, own in texts.items() if not own.isdisjoint(copied))
    return short if len(short) > max(2, SHORT_COPIED_SHARE * len(cases)) else long


def _rejections(candidate: Arm, incumbent: Arm, cases: Sequence[Case], rule: GateRule, test: PairedTest) -> tuple[str, ...]:
    found = list(harms(candidate.grades, incumbent.grades, test, rule.failure_tolerance))
    if len({json.dumps(case.expected, sort_keys=True) for case in cases}) > 1:
        if _is_constant(candidate):
            found.append("a shortcut: the same answer to every case, though the labels differ")
        same = (name for name, answers in shortcuts(cases).items() if _answers_like(candidate, answers, cases))
        found += [f"a shortcut: it answers as `{name}` does" for name in same]
    return tuple(found)


def _answers_like(arm: Arm, answers: Sequence[Any], cases: Sequence[Case]) -> bool:
    alike = [_text(one) == _text(other) for one, other in zip(arm.answers, answers, strict=True)]
    missed = [same for same, answer, case in zip(alike, answers, cases, strict=True) if _text(answer) != _text(case.expected)]
    is_alike = len(answers) >= 5 and sum(alike) >= SHORTCUT_SHARE * len(answers)
    return is_alike and len(missed) > 0 and sum(missed) >= SHORTCUT_MISSED_SHARE * len(missed)


def _text(answer: Any) -> str:
    return normalized_text(answer) or json.dumps(answer, sort_keys=True, default=str)


def _doubts(
    candidate: Arm, probes: Mapping[str, list[float]], grader: GraderSpec, alpha: float, test: PairedTest
) -> tuple[str, ...]:
    found = []
    if test.p_value_better >= alpha:
        found.append(
            f"not shown better: {test.gain:+.3f} [{test.gain_low:+.3f}, {test.gain_high:+.3f}], p = {test.p_value_better:.4f}"
        )
    for name, grades in probes.items():
        if paired_test(candidate.grades, grades, HARM_ALPHA).p_value_better >= HARM_ALPHA:
            found.append(
                f"not shown better than the shortcut `{name}` ({sum(grades) / len(grades):.3f}) under grader {grader.kind}"
            )
    return tuple(found)


def _is_constant(arm: Arm) -> bool:
    given = {
        json.dumps(answer, sort_keys=True, default=str)
        for answer, each in zip(arm.answers, arm.grades, strict=True)
        if each is not None
    }
    return len(arm.grades) >= 5 and len(given) == 1 and arm.failures == 0


def _grades(answers: Sequence[Any], cases: Sequence[Case], grader: GraderSpec) -> list[float]:
    return [grade(grader, case.expected, {"answer": answer}) for case, answer in zip(cases, answers, strict=True)]


def _echo(inputs: Mapping[str, Any]) -> Any:
    return next(iter(inputs.values())) if len(inputs) == 1 else json.dumps(inputs, sort_keys=True, ensure_ascii=False)


def _texts_of(label: Any) -> str:
    """A label as somebody who lists all of them would write it."""
    if isinstance(label, str):
        return label
    return " ".join(map(_texts_of, label)) if isinstance(label, list) else json.dumps(label, sort_keys=True, ensure_ascii=False)


def _texts(inputs: Any, least: int) -> list[str]:
    if isinstance(inputs, str):
        text = _plain(json.dumps(inputs, ensure_ascii=False)[1:-1])
        return [text] if len(text) >= least else []
    if isinstance(inputs, Mapping):
        return [text for value in inputs.values() for text in _texts(value, least)]
    if isinstance(inputs, list | tuple):
        return [text for value in inputs for text in _texts(value, least)]
    return []


def _stands_in(text: str, held: str) -> bool:
    """As words of its own, not inside another word."""
    return text in held and re.search(rf"(?<!\w){re.escape(text)}(?!\w)", held) is not None


def _plain(text: str) -> str:
    """Without what JSON makes of line ends and tabs, which would hide where a word begins."""
    return " ".join(re.sub(r"\\[nrt]", " ", text.casefold()).split())
