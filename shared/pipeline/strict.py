"""Models that refuse unknown keys and say which key was probably meant."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel, ModelWrapValidatorHandler, ValidationError, model_validator
from pydantic_core import InitErrorDetails, PydanticCustomError

from shared.pipeline.suggestions import did_you_mean
from shared.pipeline.wording import worded

UNKNOWN_KEY = "unknown_key"


def custom(kind: str, reason: str, suggestion: str = "") -> PydanticCustomError:
    # Reasons quote what authors wrote, braces included: only the placeholder may be expanded.
    return PydanticCustomError(kind, "{reason}", {"reason": reason, "suggestion": suggestion})


def detail(kind: str, location: tuple[str | int, ...], reason: str, suggestion: str = "") -> InitErrorDetails:
    return InitErrorDetails(type=custom(kind, reason, suggestion), loc=location, input=None)


def located(kind: str, location: tuple[str | int, ...], reason: str, suggestion: str = "") -> ValidationError:
    """A validation error at a place inside the value that a validator looks at; pydantic puts the outer place before it."""
    return ValidationError.from_exception_data("document", [detail(kind, location, reason, suggestion)])


def details_of(error: ValidationError) -> list[InitErrorDetails]:
    """The errors as parts of another one, in the language's words."""
    return [
        InitErrorDetails(type=custom(each["type"], *worded(each)), loc=each["loc"], input=each["input"])
        for each in error.errors(include_url=False)
    ]


class StrictModel(BaseModel):
    """Root of all models of the language; their `model_config` forbids extra keys."""

    @model_validator(mode="wrap")
    @classmethod
    def _unknown_keys_suggest(cls, data: Any, handler: ModelWrapValidatorHandler[Any]) -> Any:
        try:
            return handler(data)
        except ValidationError as error:
            if all(each["type"] != "extra_forbidden" for each in error.errors(include_url=False)):
                raise
            raise ValidationError.from_exception_data(cls.__name__, [cls._suggesting(each) for each in details_of(error)]) from None

    @classmethod
    def _suggesting(cls, found: InitErrorDetails) -> InitErrorDetails:
        kind, location = found["type"], found.get("loc", ())
        if not isinstance(kind, PydanticCustomError) or kind.type != "extra_forbidden" or len(location) != 1:
            return found
        key = str(location[0])
        known = tuple(field.alias or name for name, field in cls.model_fields.items())
        return InitErrorDetails(
            type=custom(UNKNOWN_KEY, f"unknown key `{key}`", did_you_mean(key, known)), loc=location, input=found["input"]
        )
