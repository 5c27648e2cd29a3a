"""Operators: small seeded edits of a pipeline document, one a file."""

from __future__ import annotations

from shared.search.operators.add_model_step import AddModelStep
from shared.search.operators.answer_schema import AnswerSchema
from shared.search.operators.crossover import Crossover
from shared.search.operators.delete_step import DeleteStep
from shared.search.operators.examples_add import ExamplesAdd
from shared.search.operators.examples_drop import ExamplesDrop
from shared.search.operators.examples_swap import ExamplesSwap
from shared.search.operators.instruction_variant import InstructionVariant
from shared.search.operators.label_emphasis import LabelEmphasis
from shared.search.operators.label_glosses import LabelGlosses
from shared.search.operators.label_order import LabelOrder
from shared.search.operators.nearest_examples import NearestExamples
from shared.search.operators.numbers import Numbers
from shared.search.operators.operator import Operator
from shared.search.operators.prompt_order import PromptOrder
from shared.search.operators.reason_first import ReasonFirst
from shared.search.operators.step_type import StepType
from shared.search.operators.verify import Verify
from shared.search.operators.vote import Vote

__all__ = ["Operator", "all_operators"]


def all_operators() -> tuple[Operator, ...]:
    """Every operator that needs no model, in a fixed order."""
    return (
        AddModelStep(),
        AnswerSchema(),
        Crossover(),
        DeleteStep(),
        ExamplesAdd(),
        ExamplesDrop(),
        ExamplesSwap(),
        InstructionVariant(),
        LabelEmphasis(),
        LabelGlosses(),
        LabelOrder(),
        NearestExamples(),
        Numbers(),
        PromptOrder(),
        ReasonFirst(),
        StepType(),
        Verify(),
        Vote(),
    )
