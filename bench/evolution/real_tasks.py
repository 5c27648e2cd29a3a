"""Real labelled tasks as prompts of four texts, their grader, and the proposer that all competitors share."""

from __future__ import annotations

import json
import os
import random
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from bench.evolution.problems import Problem, Propose
from bench.evolution.recording import Asked
from bench.evolution.rows import ROOT
from shared.events.values import GraderSpec
from shared.evidence.graders import grade
from shared.pipeline.functions.nearest import nearest_examples

SHIPPED = ROOT / "pipelines" / "examples"
FOLDER = "EVOLINE_BENCH_TASKS"
"""Environment: a folder with tasks that may be measured with but not shipped, as `spam_email.jsonl`."""
SEEN, HELD_OUT = 60, 150
"""Cases of train, of dev and of the gate of `optimize`; and cases that nobody but the judge of this bench sees."""
_MOST_EXAMPLES = 8
_MOST_CHARACTERS = 160
NONE = "-"
"""A text that says nothing."""
_NEAREST = re.compile(r"the (\d) nearest training cases")
_COUNTS = (1, 2, 3)


@dataclass(frozen=True)
class Task:
    name: str
    instruction: str
    answers: Mapping[str, Any]
    """JSON schema of an answer."""
    grader: GraderSpec
    phrasings: tuple[str, ...]
    hints: tuple[str, ...]
    closings: tuple[str, ...]
    file: str = ""
    """Of its cases; empty: as the task is called."""
    has_nearest: bool = False
    """The examples may be the training cases that are most like the case at hand, as `nearest_examples` of pipelines finds them."""

    @property
    def seed(self) -> dict[str, str]:
        return {"instruction": self.instruction, "hints": NONE, "examples": NONE, "closing": NONE}


def _label_schema(*labels: str) -> dict[str, Any]:
    return {
        "type": "object",
        "properties": {"answer": {"enum": list(labels)}},
        "required": ["answer"],
        "additionalProperties": False,
    }


_CLOSINGS = (
    NONE,
    "Answer now.",
    "Be careful: the first impression is often wrong.",
    "Answer with JSON only.",
    "What is the right answer?",
)
_SPAM = Task(
    "spam_email",
    "Is this email spam or ham?",
    _label_schema("ham", "spam"),
    GraderSpec(kind="label"),
    (
        "Is this email spam or ham?",
        "Decide whether the email is unwanted advertising (spam) or a real message (ham).",
        "You filter mail. Answer ham for messages that people wrote to each other or to a list, spam for advertising.",
        "Classify the email: ham or spam.",
        "Would the receiver want this email? Answer ham if so, else spam.",
    ),
    (
        NONE,
        "About half of the emails are ham.",
        "News digests, mailing lists and technical questions are ham.",
        "Offers of money, loans, pills or miracle products are spam.",
        "Spam often shouts, promises and asks to click.",
    ),
    _CLOSINGS,
)
TASKS = (
    Task(
        "sentiment_tweets3",
        "Label the tweet.",
        _label_schema("negative", "neutral", "positive"),
        GraderSpec(kind="label"),
        (
            "Label the tweet.",
            "Decide how the writer of the tweet feels: negative, neutral or positive.",
            "You rate the sentiment of short messages. Is this one negative, neutral or positive?",
            "Read the tweet. If it states facts without feeling it is neutral; else the feeling is positive or negative.",
            "Sentiment analysis: choose negative, neutral or positive.",
            "What feeling does this text express? Answer negative, neutral or positive.",
        ),
        (
            NONE,
            "Neutral means that no feeling is expressed.",
            "Complaints and bad news are negative. Thanks, praise and joy are positive.",
            "Emoticons and exclamation marks tell how strong a feeling is.",
            "Most tweets are not neutral.",
        ),
        _CLOSINGS,
    ),
    Task(
        "price_extract",
        "Find the price.",
        {
            "type": "object",
            "properties": {"amount": {"type": ["number", "null"]}, "currency": {"type": ["string", "null"]}},
            "required": ["amount", "currency"],
            "additionalProperties": False,
        },
        GraderSpec(kind="json_fields", options={"fields": ["amount", "currency"]}),
        (
            "Find the price.",
            "Extract the amount as a number and the currency as it is written.",
            "Read the text of a price. Give its amount (a number) and its currency (a symbol or code); null where there is none.",
            "What does it cost? Give amount and currency.",
            "Parse this price into amount and currency.",
        ),
        (
            NONE,
            "A comma before two digits is a decimal comma; one before three digits separates thousands.",
            "Copy the currency exactly as it stands in the text. Use the hint only where the text has none.",
            "Where there is no number the amount is null. Where there is no currency it is null.",
            "Spaces and points may separate thousands.",
        ),
        _CLOSINGS,
    ),
    _SPAM,
    replace(_SPAM, name="spam_email_nearest", file="spam_email", has_nearest=True),
)


class RealTask:
    """Cases by id, and what a candidate is worth on one of them."""

    def __init__(self, task: Task, model: Asked, rows: Sequence[Mapping[str, Any]]) -> None:
        self.task = task
        self._model = model
        self._cases = {row["id"]: row for row in rows}
        splits = {split: tuple(row["id"] for row in rows if row["split"] == split) for split in ("train", "dev", "sealed")}
        self.train, self.dev, self.gate = (splits[split][:SEEN] for split in ("train", "dev", "sealed"))
        rest = [case for split in ("sealed", "train", "dev") for case in splits[split][SEEN:]]
        self.held_out = tuple(rest[:HELD_OUT])

    def evaluate(self, texts: Mapping[str, str], case: str) -> float:
        row = self._cases[case]
        shown = {**texts, "examples": self._examples(texts["examples"], case)}
        answer = self._model(self.prompt(shown, row["input"]), self.task.answers)
        try:
            return grade(self.task.grader, row["expected"], json.loads(answer))
        except ValueError:
            return 0.0  # cut off in the middle: a wrong answer

    def prompt(self, texts: Mapping[str, str], shown: Mapping[str, Any]) -> str:
        parts = [texts["instruction"], texts["hints"], texts["examples"], f"Input: {_shown(shown)}", texts["closing"], "Output:"]
        return "\n\n".join(part for part in parts if part.strip() != NONE)

    def _examples(self, text: str, case: str) -> str:
        """As they are shown beside one case, which is never its own example."""
        if not (found := _NEAREST.fullmatch(text)):
            return text
        others = [self._cases[other] for other in self.train if other != case]
        chosen = nearest_examples(
            [{"input": row["input"], "id": row["id"]} for row in others], {"input": self._cases[case]["input"]}, int(found[1])
        )
        return "\n\n".join(_example(self._cases[each["id"]]) for each in reversed(chosen))

    def problem(self, budget: int, number: int) -> Problem:
        return Problem(
            self.evaluate, self.task.seed, self.train, self.dev, self.gate, budget, number, lambda: self.proposer(number)
        )

    def proposer(self, number: int) -> Propose:
        """Another phrasing, hint or closing; or an example more, less or instead of one."""
        generator = random.Random(f"texts:{number}")

        def propose(parent: Mapping[str, str], component: str | None) -> dict[str, str]:
            name = component or generator.choice(sorted(self.task.seed))
            if name == "examples":
                return {**parent, name: self._other_examples(parent[name], generator)}
            known = {"instruction": self.task.phrasings, "hints": self.task.hints, "closing": self.task.closings}[name]
            return {**parent, name: generator.choice([text for text in known if text != parent[name]])}

        return propose

    def _other_examples(self, present: str, generator: random.Random) -> str:
        if self.task.has_nearest and generator.random() < 0.5:
            return f"the {generator.choice(_COUNTS)} nearest training cases"
        lines = [] if present == NONE or _NEAREST.fullmatch(present) else present.split("\n\n")
        if lines and (len(lines) >= _MOST_EXAMPLES or generator.random() < 0.25):
            lines.pop(generator.randrange(len(lines)))
        for _ in range(generator.choice((1, 1, 2, 3))):
            line = _example(self._cases[generator.choice(self.train)])
            if line not in lines and len(lines) < _MOST_EXAMPLES:
                lines.append(line)
        return "\n\n".join(lines) or NONE


def load(task: Task, model: Asked) -> RealTask | None:
    """None where the task's file is not here."""
    folders = [SHIPPED, *([Path(os.environ[FOLDER])] if os.environ.get(FOLDER) else [])]
    for folder in folders:
        path = folder / f"{task.file or task.name}.jsonl"
        if path.exists():
            return RealTask(task, model, [json.loads(line) for line in path.read_text().splitlines()])
    return None


def _example(row: Mapping[str, Any]) -> str:
    return f"Input: {_shown(row['input'])}\nOutput: {json.dumps(_answer(row['expected']), ensure_ascii=False)}"


def _answer(expected: Any) -> Any:
    return expected if isinstance(expected, Mapping) else {"answer": expected}


def _shown(shown: Mapping[str, Any]) -> str:
    told = {key: _cut(value) for key, value in shown.items() if value is not None}
    return str(next(iter(told.values()))) if len(told) == 1 else json.dumps(told, ensure_ascii=False)


def _cut(value: Any) -> Any:
    """Emails are cut, or each call with examples would take this model many seconds."""
    return value[:_MOST_CHARACTERS] if isinstance(value, str) else value
