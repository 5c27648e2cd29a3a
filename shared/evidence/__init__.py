"""What a number is worth: graders, scores with intervals, paired tests, splits. Pure functions, each with its source.

What needs numpy is imported from its own module: who only grades need not load it."""

from __future__ import annotations

from shared.evidence.graders import answer_of, grade, grade_run, grader_hash, infer_grader
from shared.evidence.scores import score
from shared.evidence.splits import assign_split

__all__ = [
    "answer_of",
    "assign_split",
    "grade",
    "grade_run",
    "grader_hash",
    "infer_grader",
    "score",
]
