"""Runs as files: written without secrets, read with distrust. Pure."""

from __future__ import annotations

from services.executor.domain.run_file.form import Evidence, RunFile, kept_record, sealed, written
from services.executor.domain.run_file.reading import read_run_file

__all__ = ["Evidence", "RunFile", "kept_record", "read_run_file", "sealed", "written"]
