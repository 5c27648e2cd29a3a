"""From YAML or a map to a checked document, and back to YAML."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

import yaml
from pydantic import BaseModel, ValidationError

from shared.errors import InvalidInputError, Problem
from shared.pipeline.checks import check, fault_place
from shared.pipeline.document import Defaults, Document, Limits, Retry, did_you_mean
from shared.pipeline.inference import complete
from shared.pipeline.plain_values import Path, dotted, plain_problems
from shared.pipeline.yaml_source import FLOAT, Source, read_yaml, resolve_scalar

_ROOT_KEY = "workflow"
_OTHER_BREAKS = re.compile("[\r\x85\u2028\u2029\ufeff]")
"""Line breaks that YAML would fold or normalise outside double quotes."""
_MODELS: Mapping[str, type[BaseModel]] = {"limits": Limits, "defaults": Defaults, "retry": Retry}


def load_document(source: str | Mapping[str, Any], *, file: str = "") -> Document:
    """Parses and checks a pipeline written as YAML text or held as a map; `file` only names it in problems.

    Undeclared names become required inputs, and missing schemas are inferred from the fields that other steps read. Raises
    `InvalidInputError` with every problem found: file, line, path, reason, suggestion."""
    read = read_yaml(source, file) if isinstance(source, str) else Source(source, {}, tuple(plain_problems(source, file)))
    if read.problems:
        raise InvalidInputError(read.problems)
    place = _Places(read, file)
    if not isinstance(place.root, Mapping):
        raise InvalidInputError(place.problem((), "a pipeline must be a map with `name` and `steps`"))
    try:
        document = Document.model_validate(_plain(place.root))
    except ValidationError as error:
        raise InvalidInputError(_shape_problems(error, place)) from error
    faults = check(document)
    if faults:
        raise InvalidInputError(_fault_problems(faults, place))
    return complete(document)


def dump_yaml(document: Document) -> str:
    """YAML that loads to the same digest: keys in the language's order, defaults left out, long text as blocks."""
    return yaml.dump(document.canonical(), Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=110)


class _Places:
    """Where things stand in the source."""

    def __init__(self, source: Source, file: str) -> None:
        self._source = source
        self._file = file
        value = source.value
        wrapped = isinstance(value, Mapping) and set(value) == {_ROOT_KEY}
        self._prefix: Path = (_ROOT_KEY,) if wrapped else ()
        self.root: Any = value[_ROOT_KEY] if wrapped else value

    def problem(self, path: Path, reason: str, suggestion: str = "", line_inside: int = 0) -> Problem:
        return Problem(file=self._file, line=self.line(path, line_inside), path=dotted(path), reason=reason, suggestion=suggestion)

    def line(self, path: Path, line_inside: int = 0) -> int:
        """Line of the nearest enclosing thing that has one; inside a block text, of the line meant."""
        full = (*self._prefix, *path)
        if line_inside and full in self._source.blocks:
            return self._source.blocks[full] + line_inside - 1
        while full and full not in self._source.lines:
            full = full[:-1]
        return self._source.lines.get(full, 0)

    def known_path(self, location: tuple[str | int, ...]) -> Path:
        """A validation error's location without the names of union members, which are no part of the document."""
        path: list[str | int] = []
        here: Any = self.root
        for index, part in enumerate(location):
            is_last = index == len(location) - 1
            inside = isinstance(here, Mapping) and part in here
            inside = inside or (isinstance(here, list | tuple) and isinstance(part, int) and part < len(here))
            if inside:
                here = here[part]
                path.append(part)
            elif is_last and isinstance(part, str) and re.fullmatch(r"[a-z_]+", part) and isinstance(here, Mapping):
                path.append(part)
        return tuple(path)

    def step_paths(self) -> dict[str, Path]:
        """Path of each step by name, inner steps too."""
        found: dict[str, Path] = {}
        _find_steps(self.root.get("steps"), ("steps",), found)
        return found


def _find_steps(value: Any, path: Path, found: dict[str, Path]) -> None:
    if isinstance(value, Mapping):
        if isinstance(value.get("name"), str) and isinstance(value.get("type"), str):
            found.setdefault(value["name"], path)
        for key, member in value.items():
            _find_steps(member, (*path, key), found)
    elif isinstance(value, list | tuple):
        for index, member in enumerate(value):
            _find_steps(member, (*path, index), found)


def _shape_problems(error: ValidationError, place: _Places) -> list[Problem]:
    found: dict[Path, Problem] = {}
    for each in error.errors(include_url=False):
        if each["type"] == "too_short" and each.get("input"):
            continue  # pydantic does not count the items that it has just found wrong
        path = place.known_path(each["loc"])
        reason, suggestion = _worded(each, path)
        present = found.get(path)
        if present is None:
            found[path] = place.problem(path, reason, suggestion)
        elif reason not in present.reason:
            found[path] = present.model_copy(update={"reason": f"{present.reason}, or {reason}"})
    return sorted(found.values(), key=lambda problem: problem.line)


def _worded(error: Any, path: Path) -> tuple[str, str]:
    """(reason, suggestion) in the language's words."""
    context = error.get("ctx", {})
    reason = str(error["msg"]).removeprefix("Value error, ")
    reason = re.sub(r"^Input should be ", "must be ", reason)
    key = str(path[-1]) if path else ""
    if error["type"] == "missing" or reason == "Field required":
        return f"`{key}` is missing", "add it"
    if error["type"] == "extra_forbidden":
        model = Document if len(path) == 1 else _MODELS.get(str(path[-2]))
        known = tuple(model.model_fields) if model else ()
        return f"unknown key `{key}`", did_you_mean(key, known) if known else "remove it"
    if "match pattern" in reason and key in ("name", "domain"):
        return reason, "lower-case letters, digits and _, starting with a letter"
    if reason == "must be a valid string":
        return "must be text", "put it in quotes"
    return reason, str(context.get("suggestion", ""))


def _fault_problems(faults: Any, place: _Places) -> list[Problem]:
    paths = place.step_paths()
    problems = [place.problem(fault_place(fault, paths), fault.reason, fault.suggestion, fault.line) for fault in faults]
    return sorted(dict.fromkeys(problems), key=lambda problem: problem.line)


def _plain(value: Any) -> Any:
    """Own copy: nobody else holds a reference into the document."""
    if isinstance(value, Mapping):
        return {key: _plain(member) for key, member in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(member) for member in value]
    return value


class _Dumper(yaml.SafeDumper):
    """Quotes what a YAML 1.2 reader would take for a number, and writes texts of several lines as blocks."""

    def ignore_aliases(self, data: Any) -> bool:
        return True


def _text_node(dumper: yaml.SafeDumper, text: str) -> yaml.ScalarNode:
    if _OTHER_BREAKS.search(text):
        return dumper.represent_scalar("tag:yaml.org,2002:str", text, style='"')
    if "\n" in text:
        return dumper.represent_scalar("tag:yaml.org,2002:str", text, style="|")
    if not isinstance(resolve_scalar(text), str):
        return dumper.represent_scalar("tag:yaml.org,2002:str", text, style="'")
    return dumper.represent_scalar("tag:yaml.org,2002:str", text)


_Dumper.add_representer(str, _text_node)
_Dumper.add_implicit_resolver("tag:yaml.org,2002:float", FLOAT, list("-+0123456789."))
