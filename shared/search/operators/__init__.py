"""Operators: small seeded edits of a pipeline document, one a file."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from shared.search.candidates import OperatorContext
from shared.search.operators.add_model_step import AddModelStep
from shared.search.operators.answer_format import AnswerFormat
from shared.search.operators.answer_schema import AnswerSchema
from shared.search.operators.cascade import Cascade
from shared.search.operators.crossover import Crossover
from shared.search.operators.delete_step import DeleteStep
from shared.search.operators.duplicate_step import DuplicateStep
from shared.search.operators.examples_add import ExamplesAdd
from shared.search.operators.examples_drop import ExamplesDrop
from shared.search.operators.examples_swap import ExamplesSwap
from shared.search.operators.graft_template import GraftTemplate
from shared.search.operators.instruction_variant import InstructionVariant
from shared.search.operators.label_emphasis import LabelEmphasis
from shared.search.operators.label_glosses import LabelGlosses
from shared.search.operators.label_order import LabelOrder
from shared.search.operators.model_swap import ModelSwap
from shared.search.operators.nearest_examples import NearestExamples
from shared.search.operators.numbers import Numbers
from shared.search.operators.operator import Operator
from shared.search.operators.prompt_order import PromptOrder
from shared.search.operators.provider_swap import ProviderSwap
from shared.search.operators.reason_first import ReasonFirst
from shared.search.operators.reorder_steps import ReorderSteps
from shared.search.operators.step_type import StepType
from shared.search.operators.transfer import Transfer
from shared.search.operators.verify import Verify
from shared.search.operators.vote import Vote

__all__ = ["Operator", "all_operators", "operators_for"]

_NEEDS: Mapping[str, Callable[[OperatorContext], bool]] = {
    "answer_format": lambda context: not context.labels,
    "cascade": lambda context: len(context.models) > 1 and bool(context.labels),
    "graft_template": lambda context: bool(context.templates),
    "model_swap": lambda context: bool(context.models),
    "provider_swap": lambda context: len(context.families) > 1,
    "transfer": lambda context: bool(context.donors),
}
"""What some operators cannot do without; a search does not spend its choices on them where it is missing."""


def all_operators() -> tuple[Operator, ...]:
    """Every operator that needs no model, in a fixed order."""
    return (
        AddModelStep(),
        AnswerFormat(),
        AnswerSchema(),
        Cascade(),
        Crossover(),
        DeleteStep(),
        DuplicateStep(),
        ExamplesAdd(),
        ExamplesDrop(),
        ExamplesSwap(),
        GraftTemplate(),
        InstructionVariant(),
        LabelEmphasis(),
        LabelGlosses(),
        LabelOrder(),
        ModelSwap(),
        NearestExamples(),
        Numbers(),
        PromptOrder(),
        ProviderSwap(),
        ReasonFirst(),
        ReorderSteps(),
        StepType(),
        Transfer(),
        Verify(),
        Vote(),
    )


def operators_for(context: OperatorContext) -> tuple[Operator, ...]:
    """Those that may have something to offer in this search."""
    return tuple(one for one in all_operators() if one.name not in _NEEDS or _NEEDS[one.name](context))
