"""A model engine without a model: answers by rule, remembers what each slot evaluated, and can be held back."""

from __future__ import annotations

import re
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from evoline.model_server.chat import Turn
from evoline.model_server.engine import Generated, Job, OnText

CHOICES = re.compile(r'"((?:[^"\\]|\\.)*)"')


@dataclass
class ScriptedEngine:
    """Tokens are characters. `answer(prompt, grammar)` is the whole text; by default the first literal of the grammar, else the
    prompt's last line. While `held` is set, generations stay after their first piece until they are abandoned or let go."""

    slots: int = 2
    context_tokens: int = 2000
    answer: Callable[[str, str], str] | None = None
    seconds_per_piece: float = 0.0
    held: threading.Event = field(default_factory=threading.Event)
    evaluated: list[int] = field(default_factory=list)
    """New prompt tokens of each call of `generate`, in order."""
    jobs: list[Job] = field(default_factory=list)
    abandoned: int = 0
    closed: bool = False
    _contents: dict[int, tuple[int, ...]] = field(default_factory=dict)
    _kept: dict[str, tuple[int, ...]] = field(default_factory=dict)
    _never: threading.Event = field(default_factory=threading.Event)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def render(self, turns: Sequence[Turn], opening: str) -> str:
        return "".join(f"[{turn.role}] {turn.text}\n" for turn in turns) + "[assistant] " + opening

    def tokenize(self, text: str) -> tuple[int, ...]:
        return tuple(map(ord, text))

    def generate(self, job: Job, on_text: OnText) -> Generated:
        cached = self._evaluate(job)
        prompt = "".join(map(chr, job.tokens))
        whole = (self.answer or default_answer)(prompt, job.grammar)
        text = whole[: job.max_tokens]
        for piece in re.findall(r"\S+\s*|\s+", text) or [""]:
            if on_text(piece) or self._wait(on_text):
                self.abandoned += 1
                return Generated(text, "abandoned")
        return Generated(text, "max_tokens" if len(text) < len(whole) else "end", cached, len(text))

    def keep(self, slot: int, name: str) -> None:
        with self._lock:
            self._kept[name] = self._contents[slot]

    def load(self, slot: int, name: str) -> None:
        with self._lock:
            self._contents[slot] = self._kept[name]

    def close(self) -> None:
        self.closed = True

    def _evaluate(self, job: Job) -> int:
        with self._lock:
            before = self._contents.get(job.slot, ())
            cached = next(
                (n for n, (a, b) in enumerate(zip(before, job.tokens, strict=False)) if a != b), min(len(before), len(job.tokens))
            )
            self._contents[job.slot] = tuple(job.tokens)
            self.evaluated.append(len(job.tokens) - cached)
            self.jobs.append(job)
        return cached

    def _wait(self, on_text: OnText) -> bool:
        """True when abandoned while held."""
        if self.seconds_per_piece:
            self._never.wait(self.seconds_per_piece)
        while self.held.is_set():
            if on_text(""):
                return True
            self._never.wait(0.005)
        return False


def default_answer(prompt: str, grammar: str) -> str:
    literals = CHOICES.findall(grammar.partition("start:")[2]) if "%json" not in grammar else []
    if literals:
        return str(literals[0].replace('\\"', '"'))
    return prompt.strip().splitlines()[-2].removeprefix("[user] ")
