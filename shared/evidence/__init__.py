"""What a number is worth: graders, scores with intervals, paired tests, splits. Pure functions, each with its source."""

from __future__ import annotations

from shared.evidence.graders import answer_of, grade, grade_run, grader_hash, infer_grader
from shared.evidence.paired import PairedTest, paired_test, required_cases
from shared.evidence.scores import score
from shared.evidence.splits import assign_split

__all__ = [
    "PairedTest",
    "answer_of",
    "assign_split",
    "grade",
    "grade_run",
    "grader_hash",
    "infer_grader",
    "paired_test",
    "required_cases",
    "score",
]
