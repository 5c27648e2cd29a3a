"""What the guardrail reads from files at start: the policy and the documents that ship with the system."""

from __future__ import annotations

from pathlib import Path

import yaml

from services.guardrail.domain.policy import Policy
from shared.errors import ConfigurationError, InvalidInputError
from shared.pipeline.document import Document
from shared.pipeline.loading import load_document

DEFAULT_POLICY = Path(__file__).parent.parent / "policies" / "default.yaml"


def read_policy(path: Path) -> Policy:
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise ConfigurationError(f"cannot read the policy {path}: {error.strerror}") from error
    except yaml.YAMLError as error:
        raise ConfigurationError(f"the policy {path} is no YAML: {error}") from error
    return Policy.parse(content, str(path))


def read_shipped(folder: Path) -> tuple[Document, ...]:
    """All documents of the folder, by file name. Raises `ConfigurationError` with every problem of every file."""
    documents, problems = [], []
    for path in sorted(folder.glob("*.yaml")):
        try:
            documents.append(load_document(path.read_text(encoding="utf-8"), file=path.name))
        except InvalidInputError as error:
            problems += [str(each) for each in error.problems]
    if problems:
        raise ConfigurationError(f"documents in {folder} cannot be used: {'; '.join(problems)}")
    return tuple(documents)
