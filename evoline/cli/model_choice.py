"""Which local model a start of the stack serves."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from evoline.cli.model import pull_entry
from evoline.models.catalogue import read_catalogue
from evoline.models.choice import model_file, read_choice
from evoline.stack.home import find_home
from evoline.stack.preflight import answers_for_itself


def choose_model(environment: Mapping[str, str], *, wanted: bool, quiet: bool) -> tuple[Path | None, str]:
    """(file to serve, endpoint to use); both empty where the providers answer for themselves or no model is wanted.

    Weights that are not on disk yet are fetched."""
    if not wanted or answers_for_itself(environment):
        return None, ""
    choice = read_choice(find_home(environment, Path.cwd()).root, environment)
    if choice.kind == "url":
        return None, choice.value
    file = model_file(choice, environment)
    return file or pull_entry(read_catalogue().find(choice.value), quiet=quiet), ""
