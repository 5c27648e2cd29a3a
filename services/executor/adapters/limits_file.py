"""The operator's list of what providers allow."""

from __future__ import annotations

from pathlib import Path

from pydantic import ValidationError

from services.executor.domain.limits.listed import LimitList
from shared.errors import ConfigurationError


def read_limits(file: Path | None) -> LimitList:
    """Raises `ConfigurationError` naming what is wrong: calling without the limits that somebody wanted would be worse."""
    if file is None:
        return LimitList()
    try:
        return LimitList.model_validate_json(file.read_bytes()).check()
    except OSError as error:
        raise ConfigurationError(f"the providers' limits cannot be read: {error}") from error
    except ValidationError as error:
        faults = "; ".join(f"{'.'.join(str(part) for part in fault['loc'])}: {fault['msg']}" for fault in error.errors())
        raise ConfigurationError(f"the providers' limits in {file} are wrong: {faults}") from error
