"""One section a step type: what it does, its options, its value, an example that validates."""

from __future__ import annotations

import inspect
import sys
from pathlib import Path

from pydantic import BaseModel

from evoline.reference.tables import HEAD, one_line, parts_of, rows_of, table
from shared.pipeline.step import StepType
from shared.pipeline.steps import NoOptions, step_type, type_names
from shared.pipeline.steps.base import BaseStepType

EXAMPLES = Path(__file__).parents[2] / "pipelines" / "examples" / "steps"
_EDITOR_LINE = "# yaml-language-server:"
_NOT_PARTS = frozenset(("Step", "Fallback", "Retry", "BaseModel"))


def step_types() -> str:
    kinds = {name: step_type(name) for name in type_names()}
    listed = table(
        ("type", "does", "calls"),
        ((f"[`{name}`](#{name})", _does(kind), ", ".join(kind.families) or "no model") for name, kind in kinds.items()),
    )
    sections = "".join(_section(name, kind) for name, kind in kinds.items())
    parts = {name: part for name, part in parts_of(kind.options for kind in kinds.values()).items() if name not in _NOT_PARTS}
    described = "".join(f"\n#### {name}\n\n{_options(part)}" for name, part in parts.items())
    return f"## Step types\n\n{listed}{sections}\n### Parts of options\n{described}"


def _does(kind: StepType) -> str:
    """The module's first paragraph, without the type's own name in front."""
    doc = one_line((sys.modules[type(kind).__module__].__doc__ or "").split("\n\n")[0])
    return doc.partition(": ")[2] or doc


def _section(name: str, kind: StepType) -> str:
    needed = [key for key, is_needed in (("prompt", kind.requires_prompt), ("schema", kind.requires_schema)) if is_needed]
    about = [_capitalised(_does(kind)), _value(kind)]
    about += [f"Needs {' and '.join(f'`{key}`' for key in needed)}."] if needed else []
    about += ["Applies `retry` itself."] if kind.owns_retry else []
    paragraphs = "\n\n".join(each for each in about if each)
    return f"\n### {name}\n\n{paragraphs}\n\n{_options(kind.options)}\n{_example(name)}"


def _value(kind: StepType) -> str:
    """What the class says about the step's value; `claude` and `gemini` have it from what they share."""
    bases = [base for base in type(kind).__mro__ if base not in (BaseStepType, object)]
    return one_line(next((base.__doc__ for base in bases if base.__doc__), ""))


def _options(model: type[BaseModel]) -> str:
    if model is NoOptions or not model.model_fields:
        return "No options of its own.\n"
    said = one_line(inspect.cleandoc(vars(model).get("__doc__") or ""))
    return (f"{said}\n\n" if said else "") + table(HEAD, rows_of(model))


def _capitalised(text: str) -> str:
    return text[:1].upper() + text[1:]


def _example(name: str) -> str:
    text = (EXAMPLES / f"{name}.yaml").read_text(encoding="utf-8")
    body = "".join(line for line in text.splitlines(keepends=True) if not line.startswith(_EDITOR_LINE))
    return f"```yaml\n{body}```\n"
