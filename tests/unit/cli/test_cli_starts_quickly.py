"""Commands load what they need: nobody waits for the imports of the others."""

from __future__ import annotations

import ast
import subprocess
import sys

import pytest

from evoline.cli.app import PLACES, build
from evoline.cli.loading import Place, Unloaded

SLOW = ("pydantic", "rich", "nats", "structlog", "jinja2", "jsonschema", "yaml", "cryptography", "shared.events")
NEEDED = {"": (), "--help": (), "version --json": ("pydantic", "rich"), "runs --help": SLOW[:4] + SLOW[-2:]}
"""Command line -> which of the slow ones it may load."""


@pytest.mark.parametrize("line", NEEDED)
def test_a_command_loads_nothing_slow_that_it_does_not_need(line: str) -> None:
    code = f"import sys, evoline.cli; evoline.cli.run({line.split()!r}); print([m for m in {SLOW!r} if m in sys.modules])"
    printed = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert set(ast.literal_eval(printed.splitlines()[-1])) <= set(NEEDED[line])


@pytest.mark.parametrize("place", PLACES, ids=lambda place: place.name)
def test_the_summary_in_the_list_is_that_of_the_command(place: Place) -> None:
    listed = build().commands[place.name]
    assert isinstance(listed, Unloaded)
    loaded = place.load()
    assert loaded.name == place.name
    assert listed.get_short_help_str(100) == loaded.get_short_help_str(100) != ""


def test_no_name_is_given_to_two_commands() -> None:
    names = [place.name for place in PLACES]
    assert sorted(set(names)) == sorted(names)
