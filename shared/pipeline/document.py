"""The pipeline document: what the generator writes, the executor runs, the guardrail judges and evolution mutates.

A document is immutable; its digest names the revision. `loading.load_document` makes one from YAML or a map and checks it;
the models here only hold shape and ranges.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    GetJsonSchemaHandler,
    ModelWrapValidatorHandler,
    StringConstraints,
    ValidationError,
    ValidatorFunctionWrapHandler,
    WrapValidator,
    model_serializer,
    model_validator,
)
from pydantic_core import CoreSchema, InitErrorDetails, PydanticCustomError

from shared.events.values import Domain, PipelineName
from shared.pipeline.schema_shorthand import SchemaShorthandError, to_json_schema
from shared.pipeline.strict import UNKNOWN_KEY, StrictModel, custom, detail, details_of
from shared.pipeline.suggestions import did_you_mean

StepName = Annotated[str, StringConstraints(pattern=r"^[a-z][a-z0-9_]{0,62}$")]
RetryKind = Literal["rate_limit", "overload", "server", "timeout", "connection", "invalid_answer"]
RESERVED_NAMES = frozenset(("steps", "loop", "vars", "run", "pipeline"))
"""Roots of template names that are not inputs."""
STEP_MARK = "x-step"
"""Marks a nested step in JSON Schema; `json_schema` puts the step's definition there."""


def _schema(value: Any) -> dict[str, Any]:
    try:
        return to_json_schema(value)
    except SchemaShorthandError as error:
        raise schema_error(error) from error


def schema_error(error: SchemaShorthandError) -> ValidationError:
    """Every fault of a schema at its place inside it."""
    return ValidationError.from_exception_data("schema", [detail("schema", *fault) for fault in error.faults])


def _listed(value: Any) -> Any:
    return (value,) if isinstance(value, str) else value


def _condition(value: Any) -> Any:
    return str(value).lower() if isinstance(value, bool) else value


def _no_boolean(value: Any, handler: ValidatorFunctionWrapHandler) -> Any:
    """pydantic would read `true` as 1."""
    if isinstance(value, bool):
        raise custom("number_type", "must be a number, not true or false")
    return handler(value)


Number = Annotated[float, WrapValidator(_no_boolean)]
Count = Annotated[int, WrapValidator(_no_boolean)]
Schema = Annotated[dict[str, Any], BeforeValidator(_schema)]
"""JSON Schema; the shorthand is accepted and normalised."""


class _Frozen(StrictModel):
    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class Retry(_Frozen):
    """Typed retry: waits `initial_seconds`, doubling with jitter up to `max_seconds`, between attempts at one step."""

    max_attempts: Count = Field(default=3, ge=1, le=20)
    initial_seconds: Number = Field(default=0.5, ge=0, le=600)
    max_seconds: Number = Field(default=20.0, ge=0, le=3600)
    on: tuple[RetryKind, ...] = ("rate_limit", "overload", "server", "timeout", "connection")
    """Kinds of `ProviderError` that are worth another attempt."""


class Defaults(_Frozen):
    """Values for steps that say nothing themselves."""

    timeout_seconds: Number | None = Field(default=None, gt=0, le=86_400)
    retry: Retry | None = None
    model: str | None = None
    temperature: Number | None = Field(default=None, ge=0, le=2)
    max_tokens: Count | None = Field(default=None, ge=1, le=1_000_000)
    system: str | None = None


class Limits(_Frozen):
    """Upper bounds of one run, nested runs included. They hold during the run, not after it."""

    seconds: Number = Field(default=300.0, gt=0, le=86_400)
    steps: Count = Field(default=200, ge=1, le=100_000)
    calls: Count = Field(default=100, ge=0, le=100_000)
    """Provider calls, retries counted."""
    tokens: Count = Field(default=200_000, ge=0, le=1_000_000_000)
    """Input and output together."""
    cost_usd: Number = Field(default=2.0, ge=0, le=100_000)
    depth: Count = Field(default=5, ge=0, le=10)
    """Nested runs below this one."""
    concurrency: Count = Field(default=8, ge=1, le=256)
    cpu_seconds: Number = Field(default=10.0, gt=0, le=3600)
    """Of one computation (a function, a `data_transform`); those run in processes of their own."""
    memory_mb: Count = Field(default=256, ge=16, le=4096)
    """MiB that one computation may take."""


class NoOptions(_Frozen):
    """Options of a step type that has none, or that is not known."""


class Step(_Frozen):
    """One step. Written flat: common keys here, the keys of its type in `options`. Dumped flat too, defaults left out."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False, populate_by_name=True)

    name: StepName
    type: str
    prompt: str | None = None
    when: Annotated[str | None, BeforeValidator(_condition)] = None
    """Condition; a step whose condition is false is skipped."""
    after: Annotated[tuple[StepName, ...], BeforeValidator(_listed)] = ()
    """Steps that must have ended first, without being referred to."""
    timeout_seconds: Number | None = Field(default=None, gt=0, le=86_400)
    retry: Retry | None = None
    on_error: Annotated[Literal["fail", "continue"] | Fallback, WrapValidator(lambda value, _: _on_error(value))] = "fail"
    output_schema: Schema | None = Field(default=None, alias="schema")
    cache: bool = False
    """Whether an earlier answer to the same request may be used."""
    context: Literal["auto", "none"] = "auto"
    model: str | None = None
    temperature: Number | None = Field(default=None, ge=0, le=2)
    max_tokens: Count | None = Field(default=None, ge=1, le=1_000_000)
    system: str | None = None
    options: BaseModel = NoOptions()
    """Instance of the step type's own options model."""

    @model_validator(mode="wrap")
    @classmethod
    def _split(cls, data: Any, handler: ModelWrapValidatorHandler[Step]) -> Step:
        if not isinstance(data, Mapping):
            return handler(data)
        common = {key: value for key, value in data.items() if key in COMMON_KEYS or key in KEY_OF_FIELD}
        own = {key: value for key, value in data.items() if key not in common}
        errors: list[InitErrorDetails] = []
        options = own.pop("options", None)
        if isinstance(options, BaseModel) and not own:
            common["options"] = options
        else:
            if options is not None:
                own["options"] = options
            common["options"] = _parse_options(data.get("type"), own, errors)
        common["on_error"] = _with_fallback_name(common.get("on_error", "fail"), data.get("name"))
        try:
            step = handler(common)
        except ValidationError as error:
            errors = [*details_of(error), *errors]
        if errors:
            raise ValidationError.from_exception_data("step", errors)
        return step

    @model_serializer(mode="plain")
    def flat(self) -> dict[str, Any]:
        """The step as documents write it, in the order of the keys above."""
        flat = {"name": self.name, "type": self.type}
        for key in COMMON_KEYS:
            field = FIELD_OF_KEY.get(key, key)
            value = getattr(self, field)
            if key not in flat and value != type(self).model_fields[field].default:
                flat[key] = _plain(value)
        flat.update(self.options.model_dump(mode="json", by_alias=True, exclude_defaults=True))
        return flat

    @classmethod
    def __get_pydantic_json_schema__(cls, core_schema: CoreSchema, handler: GetJsonSchemaHandler) -> dict[str, Any]:
        return {"type": "object", STEP_MARK: True}


class Fallback(_Frozen):
    """What runs in place of a step that failed; its result counts as degraded."""

    fallback: Step


FIELD_OF_KEY = {"schema": "output_schema"}
KEY_OF_FIELD = {field: key for key, field in FIELD_OF_KEY.items()}
COMMON_KEYS: tuple[str, ...] = tuple(
    KEY_OF_FIELD.get(name, name) for name in Step.__annotations__ if name not in {"model_config", "options"}
)
"""Keys that every step type has, as documents write them."""
Step.model_rebuild()


class Document(_Frozen):
    name: PipelineName
    description: str = Field(default="", max_length=4000)
    domain: Domain = "general"
    inputs: dict[str, Schema] = Field(default_factory=dict)
    """JSON Schema by name. An input is required unless its schema has a `default`."""
    defaults: Defaults = Defaults()
    limits: Limits = Limits()
    execution: Literal["sequential", "dataflow"] = "sequential"
    steps: tuple[Step, ...] = Field(min_length=1, max_length=200)
    outputs: dict[str, Any] = Field(default_factory=dict)
    """Templates by name; empty means the last step's value."""

    def canonical(self) -> dict[str, Any]:
        """JSON-able form that `load_document` accepts and that loads to the same digest; defaults are left out."""
        fields = self.model_dump(mode="json", by_alias=True, exclude_defaults=True)
        return {key: fields[key] for key in type(self).model_fields if key in fields}

    @property
    def digest(self) -> str:
        """64 hex digits: SHA-256 of the canonical form as JSON with sorted keys. Names the revision."""
        text = json.dumps(self.canonical(), sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False)
        return hashlib.sha256(text.encode()).hexdigest()

    @property
    def body_digest(self) -> str:
        """Of everything but name and description: the same for a renamed copy, another for another pipeline of the same name."""
        return self.model_copy(update={"name": "", "description": ""}).digest

    def effective(self, step: Step) -> Step:
        """The step with the document's defaults filled in where it says nothing itself."""
        missing = {
            name: value
            for name in Defaults.model_fields
            if getattr(step, name) is None and (value := getattr(self.defaults, name)) is not None
        }
        return step.model_copy(update=missing) if missing else step


def _plain(value: Any) -> Any:
    return value.model_dump(mode="json", by_alias=True, exclude_defaults=True) if isinstance(value, BaseModel) else _thawed(value)


def _thawed(value: Any) -> Any:
    return list(value) if isinstance(value, tuple) else value


def _on_error(value: Any) -> Any:
    if value in ("fail", "continue") or isinstance(value, Fallback):
        return value
    if isinstance(value, Mapping):
        return Fallback.model_validate(value)
    suggestion = "write the step that runs instead: `on_error: {fallback: {type: ..., prompt: ...}}`"
    raise custom("on_error", "must be `fail`, `continue` or a map `{fallback: step}`", suggestion)


def _with_fallback_name(on_error: Any, name: Any) -> Any:
    fallback = on_error.get("fallback") if isinstance(on_error, Mapping) else None
    if not isinstance(fallback, Mapping) or "name" in fallback:
        return on_error
    return {**on_error, "fallback": {"name": f"{name}_fallback", **fallback}}


def _parse_options(type_name: Any, own: dict[str, Any], errors: list[InitErrorDetails]) -> BaseModel:
    import shared.pipeline.steps as steps  # here, because step types import `Step` from this module

    if not isinstance(type_name, str):
        return NoOptions()  # the missing or wrong type is reported by the field itself
    try:
        model = steps.step_type(type_name).options
    except KeyError:
        suggestion = did_you_mean(type_name, steps.type_names())
        errors.append(
            InitErrorDetails(
                type=custom("step_type", f"unknown step type `{type_name}`", suggestion), loc=("type",), input=type_name
            )
        )
        return NoOptions()
    try:
        return model.model_validate(own)
    except ValidationError as error:
        own_keys = tuple(sorted(field.alias or name for name, field in model.model_fields.items()))
        errors.extend(_suggesting(found, own_keys, type_name) for found in details_of(error))
        return NoOptions()


def _suggesting(found: InitErrorDetails, own: tuple[str, ...], type_name: str) -> InitErrorDetails:
    """Names the step type and the nearest of all its keys where a key of the step itself is unknown."""
    kind, location = found["type"], found.get("loc", ())
    if not isinstance(kind, PydanticCustomError) or kind.type != UNKNOWN_KEY or len(location) != 1:
        return found
    key = str(location[0])
    reason = f"unknown key `{key}` for step type `{type_name}`"
    return InitErrorDetails(type=custom(UNKNOWN_KEY, reason, _key_suggestion(key, own)), loc=location, input=found["input"])


def _key_suggestion(key: str, own: tuple[str, ...]) -> str:
    """The nearest key; where none is near, those of the type itself, or where `config` holds them, that."""
    nearest = did_you_mean(key, (*COMMON_KEYS, *own))
    if nearest.startswith("did you mean"):
        return nearest
    if own == ("config",):
        return "options of this type stand under `config`"
    return f"its own keys: {', '.join(own)}" if own else "it has no keys of its own; see docs/language.md"
