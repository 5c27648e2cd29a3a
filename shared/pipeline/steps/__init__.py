"""Step types by name. A new type is one file here and one line below."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache

from shared.pipeline.step import StepType
from shared.pipeline.steps.base import BaseStepType, NoOptions
from shared.pipeline.steps.claude import ClaudeStep
from shared.pipeline.steps.claude_batch import ClaudeBatchStep
from shared.pipeline.steps.claude_extract import ClaudeExtractStep
from shared.pipeline.steps.claude_robust import ClaudeRobustStep
from shared.pipeline.steps.claude_session import ClaudeSessionStep
from shared.pipeline.steps.claude_smart import ClaudeSmartStep
from shared.pipeline.steps.data_transform import DataTransformStep
from shared.pipeline.steps.file_ops import FileOpsStep
from shared.pipeline.steps.for_loop import ForLoopStep
from shared.pipeline.steps.function import FunctionStep
from shared.pipeline.steps.gemini import GeminiStep
from shared.pipeline.steps.gemini_instructor import GeminiInstructorStep
from shared.pipeline.steps.parallel_claude import ParallelClaudeStep
from shared.pipeline.steps.parallel_pipeline_executor import ParallelPipelineExecutorStep
from shared.pipeline.steps.pipeline import PipelineStep
from shared.pipeline.steps.pipeline_deployer import PipelineDeployerStep
from shared.pipeline.steps.set_variable import SetVariableStep
from shared.pipeline.steps.switch import SwitchStep
from shared.pipeline.steps.while_loop import WhileLoopStep

__all__ = ["BaseStepType", "NoOptions", "step_type", "type_names"]

_CLASSES: tuple[type[BaseStepType], ...] = (
    ClaudeStep,
    GeminiStep,
    ClaudeSmartStep,
    ClaudeExtractStep,
    ClaudeBatchStep,
    ClaudeRobustStep,
    ClaudeSessionStep,
    ParallelClaudeStep,
    GeminiInstructorStep,
    ParallelPipelineExecutorStep,
    PipelineDeployerStep,
    PipelineStep,
    ForLoopStep,
    WhileLoopStep,
    SwitchStep,
    SetVariableStep,
    DataTransformStep,
    FunctionStep,
    FileOpsStep,
)


@cache
def _registry() -> Mapping[str, StepType]:
    return {name: each() for each in _CLASSES for name in each.type_names}


def step_type(name: str) -> StepType:
    """The step type of that name. Raises `KeyError`."""
    return _registry()[name]


def type_names() -> tuple[str, ...]:
    return tuple(_registry())
