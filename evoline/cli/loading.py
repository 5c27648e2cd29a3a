"""Commands whose modules are loaded when they are called: listing them all takes none of their imports."""

from __future__ import annotations

import ast
import importlib
import importlib.util
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import typer
from typer.core import TyperCommand, TyperGroup

Context = Any
"""Typer's own copy of click is private."""


@dataclass(frozen=True)
class Place:
    """Where a command is: the function `attribute` of `module`; for a group of commands the function that builds it."""

    name: str
    module: str
    attribute: str = "build"
    group_help: str = ""
    """What a group is about; a single command says so in its docstring."""

    def help(self) -> str:
        return self.group_help or _docstrings(self.module)[self.attribute]

    def load(self) -> Any:
        found = getattr(importlib.import_module(self.module), self.attribute)
        holder = typer.Typer(rich_markup_mode=None)
        holder.callback()(lambda: None)  # makes it a group also where it holds one command
        if self.group_help:
            holder.add_typer(found(), name=self.name, help=self.group_help)
        else:
            holder.command(self.name)(found)
        return typer.main.get_group(holder).commands[self.name]


@cache
def _docstrings(module: str) -> dict[str, str]:
    """Of the functions of a module, read from its source."""
    found = importlib.util.find_spec(module)
    assert found is not None and found.origin is not None, f"there is no module {module}"
    tree = ast.parse(Path(found.origin).read_text(encoding="utf-8"))
    return {each.name: ast.get_docstring(each) or "" for each in tree.body if isinstance(each, ast.FunctionDef)}


class Unloaded(TyperCommand):
    """Stands for a command in lists and suggestions."""

    def __init__(self, place: Place) -> None:
        super().__init__(place.name)
        self.place = place

    def get_short_help_str(self, limit: int = 45) -> str:
        self.help = self.place.help()
        return super().get_short_help_str(limit)


class LazyGroup(TyperGroup):
    def __init__(self, places: Iterable[Place], **attributes: Any) -> None:
        super().__init__(commands={place.name: Unloaded(place) for place in places}, **attributes)

    def resolve_command(self, ctx: Context, args: list[str]) -> Any:
        name, found, rest = super().resolve_command(ctx, args)
        return name, found.place.load() if isinstance(found, Unloaded) else found, rest
