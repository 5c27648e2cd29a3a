"""Operators: small seeded edits of a pipeline document, one a file."""

from __future__ import annotations

from services.evolution.operators.add_model_step import AddModelStep
from services.evolution.operators.answer_schema import AnswerSchema
from services.evolution.operators.crossover import Crossover
from services.evolution.operators.delete_step import DeleteStep
from services.evolution.operators.examples_add import ExamplesAdd
from services.evolution.operators.examples_drop import ExamplesDrop
from services.evolution.operators.examples_swap import ExamplesSwap
from services.evolution.operators.instruction_variant import InstructionVariant
from services.evolution.operators.label_emphasis import LabelEmphasis
from services.evolution.operators.label_glosses import LabelGlosses
from services.evolution.operators.label_order import LabelOrder
from services.evolution.operators.nearest_examples import NearestExamples
from services.evolution.operators.numbers import Numbers
from services.evolution.operators.operator import Operator
from services.evolution.operators.prompt_order import PromptOrder
from services.evolution.operators.reason_first import ReasonFirst
from services.evolution.operators.step_type import StepType
from services.evolution.operators.verify import Verify
from services.evolution.operators.vote import Vote

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
