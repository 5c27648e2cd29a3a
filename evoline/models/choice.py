"""Which model the stack serves: an environment variable, what `evoline model use` stored, or the default."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, ValidationError

from evoline.models.cache import find_cache
from evoline.models.catalogue import Catalogue, read_catalogue
from shared.errors import ConfigurationError, NotFoundError

FILE_VARIABLE = "EVOLINE_MODEL_FILE"
CHOICE_FILE = "model.json"


class ModelChoice(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")

    kind: Literal["name", "file", "url"]
    value: str
    """A catalogue name, a path, or an endpoint that speaks Anthropic Messages and Gemini."""


def read_choice(root: Path, environment: Mapping[str, str]) -> ModelChoice:
    """Raises `ConfigurationError` where the stored choice cannot be read."""
    if environment.get(FILE_VARIABLE):
        return ModelChoice(kind="file", value=environment[FILE_VARIABLE])
    file = root / CHOICE_FILE
    if not file.is_file():
        return ModelChoice(kind="name", value=read_catalogue().default)
    try:
        return ModelChoice.model_validate_json(file.read_text(encoding="utf-8"))
    except ValidationError as error:
        raise ConfigurationError(f"{file} is no model choice; choose again with: evoline model use NAME, FILE or URL") from error


def store_choice(root: Path, choice: ModelChoice) -> Path:
    root.mkdir(mode=0o700, parents=True, exist_ok=True)
    file, beside = root / CHOICE_FILE, root / f"{CHOICE_FILE}.new"
    beside.write_text(json.dumps(choice.model_dump(), indent=2) + "\n", encoding="utf-8")
    beside.replace(file)
    return file


def parse_choice(text: str, catalogue: Catalogue) -> ModelChoice:
    """A URL, an existing file, or a catalogue name. Raises `NotFoundError`."""
    if text.startswith(("http://", "https://")):
        return ModelChoice(kind="url", value=text.rstrip("/"))
    path = Path(text).expanduser()
    if path.is_file():
        return ModelChoice(kind="file", value=str(path.resolve()))
    if path.suffix == ".gguf":
        raise NotFoundError(f"there is no file {path}")
    return ModelChoice(kind="name", value=catalogue.find(text).name)


def model_file(choice: ModelChoice, environment: Mapping[str, str]) -> Path | None:
    """The weights on disk; None where they are still to be pulled, or an endpoint serves. Raises `NotFoundError`."""
    if choice.kind == "url":
        return None
    if choice.kind == "file":
        file = Path(choice.value).expanduser()
        if not file.is_file():
            raise NotFoundError(f"the model file {file} does not exist; mend {FILE_VARIABLE} or choose with: evoline model use")
        return file.resolve()
    cache, entry = find_cache(environment), read_catalogue().find(choice.value)
    return cache.file(entry) if cache.has(entry) else None


def resolve_model(root: Path, environment: Mapping[str, str]) -> ModelChoice:
    """The choice as a file that is there or an endpoint: kind `file` or `url`. Raises `ConfigurationError` or `NotFoundError`."""
    choice = read_choice(root, environment)
    if choice.kind == "url":
        return choice
    file = model_file(choice, environment)
    if file is None:
        raise ConfigurationError(f"the weights of {choice.value} are not on this machine; run: evoline model pull {choice.value}")
    return ModelChoice(kind="file", value=str(file))
