"""Whether a name that a template uses exists at that place."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from shared.pipeline.document import Document, Step
from shared.pipeline.names import ENVELOPE_FIELDS, VALUE_NAMES
from shared.pipeline.step import RunInfo
from shared.pipeline.suggestions import did_you_mean
from shared.pipeline.template_names import NamePath
from shared.pipeline.walk import LOOP_FIELDS, answers_schema, inner_steps, kind_of, walk

PIPELINE_FIELDS = ("name", "description", "domain", "digest")
"""What templates may read of `pipeline`."""

Wrong = tuple[str, str]
"""(reason, suggestion)"""


@dataclass(frozen=True)
class Visible:
    """What templates at one place may refer to."""

    document: Document
    steps: Mapping[str, Step] = field(default_factory=dict)
    loop_fields: tuple[str, ...] = ()
    """Fields of `loop`; none outside of loops."""
    has_variables: bool = False

    @classmethod
    def of(cls, document: Document, *, after_all: bool = False) -> Visible:
        steps = {step.name: step for step in document.steps} if after_all else {}
        return cls(document, steps, has_variables=any(step.type == "set_variable" for step in walk(document.steps)))

    @property
    def dataflow(self) -> bool:
        return self.document.execution == "dataflow"

    def for_step(self, step: Step, siblings: tuple[Step, ...]) -> Visible:
        """Earlier siblings (in dataflow all), and the step's own inner steps: a loop's condition reads its last round."""
        before = siblings if self.dataflow else siblings[: siblings.index(step)]
        seen = {other.name: other for other in before if other.name != step.name}
        own = {inner.name: inner for inner in inner_steps(step)}
        seen_here = replace(self, steps={**self.steps, **seen, **own})
        return seen_here.inside(step) if step.type == "while_loop" else seen_here

    def inside(self, step: Step) -> Visible:
        """What the inner steps of a step see."""
        return replace(self, loop_fields=LOOP_FIELDS.get(step.type, self.loop_fields))


def reference_fault(path: NamePath, visible: Visible) -> Wrong | None:
    """What is wrong with a reference, or None. Names of inputs are not judged here."""
    checks = {"steps": _step_fault, "loop": _loop_fault, "vars": _variable_fault, "run": _run_fault, "pipeline": _pipeline_fault}
    judge = checks.get(path[0])
    return judge(path, visible) if judge else None


def _step_fault(path: NamePath, visible: Visible) -> Wrong | None:
    if len(path) < 2:
        return None
    name = path[1]
    if name not in visible.steps:
        return _unknown_step(name, visible)
    return _field_fault(path, visible.steps[name])


def _unknown_step(name: str, visible: Visible) -> Wrong:
    everywhere = {step.name for step in walk(visible.document.steps)}
    if name in everywhere:
        reason = f"step `{name}` has not run at this place"
        return reason, "refer only to earlier steps; what happens inside a loop is read through the loop's own result"
    return f"unknown step `{name}`", did_you_mean(name, tuple(sorted(everywhere)))


def _field_fault(path: NamePath, step: Step) -> Wrong | None:
    if len(path) < 3 or (path[2] in ENVELOPE_FIELDS and path[2] not in VALUE_NAMES):
        return None
    fields = path[3:] if path[2] in VALUE_NAMES else path[2:]
    if answers_schema(step) and step.output_schema is not None:
        return _schema_fault(step.name, fields, step.output_schema)
    own = kind_of(step).value_fields
    if own and fields and fields[0] not in own:
        return f"a step of type `{step.type}` gives no field `{fields[0]}`", did_you_mean(fields[0], own)
    return None


def _schema_fault(step: str, fields: NamePath, schema: Any) -> Wrong | None:
    """Follows fields as deep as the schema is closed; whatever it leaves open is not judged."""
    for name in fields:
        if not isinstance(schema, Mapping) or "type" not in schema:
            return None
        if schema["type"] == "array" and name.lstrip("-").isdigit():
            schema = schema.get("items", {})
        elif schema["type"] == "object":
            properties = schema.get("properties", {})
            if name not in properties:
                is_open = schema.get("additionalProperties", True) is not False and not properties
                return None if is_open else (f"step `{step}` has no field `{name}`", did_you_mean(name, tuple(properties)))
            schema = properties[name]
        else:
            return f"`{name}` cannot be read from the {schema['type']} that step `{step}` gives", "check the step's `schema`"
    return None


def _loop_fault(path: NamePath, visible: Visible) -> Wrong | None:
    if not visible.loop_fields:
        return "`loop` exists only inside a loop step", "refer to an input or a step instead"
    if len(path) < 2 or path[1] in visible.loop_fields:
        return None
    return f"`loop` has no field `{path[1]}` here", did_you_mean(path[1], visible.loop_fields)


def _variable_fault(path: NamePath, visible: Visible) -> Wrong | None:
    return None if visible.has_variables else ("no step of this document sets a variable", "add a `set_variable` step")


def _run_fault(path: NamePath, visible: Visible) -> Wrong | None:
    known = tuple(RunInfo.model_fields)
    if len(path) < 2 or path[1] in known:
        return None
    return f"`run` has no field `{path[1]}`", did_you_mean(path[1], known)


def _pipeline_fault(path: NamePath, visible: Visible) -> Wrong | None:
    if len(path) < 2 or path[1] in PIPELINE_FIELDS:
        return None
    return f"`pipeline` has no field `{path[1]}`", did_you_mean(path[1], PIPELINE_FIELDS)
