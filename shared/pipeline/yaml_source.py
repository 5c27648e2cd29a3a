"""YAML text as plain values with line numbers, safe on hostile input.

YAML 1.2 core types (so `on` and `yes` are text), JSON-able values only. Read from the event stream without recursion, so size,
depth and the number of values, aliases expanded, are bounded before anything is built.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import yaml

from shared.errors import Problem
from shared.pipeline.plain_values import MAX_DEPTH, MAX_INTEGER, MAX_VALUES, Path, dotted, is_unicode

MAX_CHARACTERS = 1024 * 1024

_LOADER: type = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
_NULL = re.compile(r"^(?:~|null|Null|NULL|)$")
_BOOLEAN = re.compile(r"^(?:true|True|TRUE|false|False|FALSE)$")
_INTEGER = re.compile(r"^[-+]?[0-9]+$")
_PREFIXED = re.compile(r"^0(?:o[0-7]{1,40}|x[0-9a-fA-F]{1,40})$")
FLOAT = re.compile(r"^[-+]?(?:\.[0-9]+|[0-9]+(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?$")
_NOT_FINITE = re.compile(r"^[-+]?(?:\.inf|\.Inf|\.INF|\.nan|\.NaN|\.NAN)$")
_TAGS = {f"tag:yaml.org,2002:{name}" for name in ("str", "int", "float", "bool", "null", "map", "seq")}


@dataclass(frozen=True)
class Source:
    """Plain values, the line of each path, and what is wrong with the text."""

    value: Any
    lines: Mapping[Path, int]
    problems: tuple[Problem, ...] = ()
    blocks: Mapping[Path, int] = field(default_factory=dict)
    """First line of the text of block scalars (`|`, `>`)."""
    is_whole: bool = True
    """Whether everything was read, so that the values can be judged beside what is wrong with the text."""


def read_yaml(text: str, file: str = "") -> Source:
    """Parses one YAML document. Never raises on bad text: `problems` says what is wrong."""
    if len(text) > MAX_CHARACTERS:
        reason = f"the text has {len(text)} characters, at most {MAX_CHARACTERS} are read"
        return Source(None, {}, (Problem(file=file, reason=reason, suggestion="split the pipeline, keep data out of it"),))
    builder, is_whole = _Builder(file), False
    try:
        for event in yaml.parse(text, Loader=_LOADER):
            builder.take(event)
        is_whole = True
    except _Stop:
        pass
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        builder.report(_scanner_reason(error), (), mark.line + 1 if mark else 0, _scanner_suggestion(error, text, mark))
    except yaml.reader.ReaderError as error:
        line = text.count("\n", 0, error.position) + 1 if isinstance(error.position, int) else 0
        builder.report("a character that YAML does not allow", (), line, "write it as an escape inside double quotes")
    if not builder.problems and builder.value is _NOTHING:
        builder.report("the document is empty", (), 1, "write at least `name:` and `steps:`")
    value = None if builder.value is _NOTHING else builder.value
    return Source(value, builder.lines, tuple(builder.problems), builder.blocks, is_whole)


class _Stop(Exception):  # noqa: N818  (ends reading, is no error of its own: the problem is already recorded)
    pass


_NOTHING: Any = object()


@dataclass
class _Frame:
    """An open list or map; `first` is how many values came before it."""

    value: list[Any] | dict[str, Any]
    path: Path
    anchor: str | None
    first: int
    key: Any = _NOTHING
    key_line: int = 0


@dataclass
class _Builder:
    file: str
    value: Any = _NOTHING
    problems: list[Problem] = field(default_factory=list)
    lines: dict[Path, int] = field(default_factory=dict)
    blocks: dict[Path, int] = field(default_factory=dict)
    _open: list[_Frame] = field(default_factory=list)
    _anchors: dict[str, tuple[Any, int]] = field(default_factory=dict)
    _count: int = 0
    _documents: int = 0

    def report(self, reason: str, path: Path, line: int, suggestion: str = "") -> None:
        self.problems.append(Problem(file=self.file, line=line, path=dotted(path), reason=reason, suggestion=suggestion))
        if len(self.problems) >= 50:
            raise _Stop

    def take(self, event: yaml.Event) -> None:
        line = event.start_mark.line + 1 if event.start_mark else 0
        if isinstance(event, yaml.DocumentStartEvent):
            self._start_document(line)
        elif isinstance(event, yaml.AliasEvent):
            self._alias(event.anchor or "", line)
        elif isinstance(event, yaml.ScalarEvent):
            self._count_values(1, line)
            value = self._scalar(event, line)
            if event.style in ("|", ">"):
                self.blocks[self._path()] = line + 1
            if event.anchor:
                self._anchors[event.anchor] = (value, 1)
            self._add(value, line)
        elif isinstance(event, yaml.SequenceStartEvent | yaml.MappingStartEvent):
            self._start_collection(event, line)
        elif isinstance(event, yaml.SequenceEndEvent | yaml.MappingEndEvent):
            frame = self._open.pop()
            if frame.anchor:
                self._anchors[frame.anchor] = (frame.value, self._count - frame.first + 1)

    def _start_document(self, line: int) -> None:
        self._documents += 1
        if self._documents > 1:
            self.report("more than one YAML document in the text", (), line, "write one pipeline a file")
            raise _Stop

    def _start_collection(self, event: yaml.SequenceStartEvent | yaml.MappingStartEvent, line: int) -> None:
        self._count_values(1, line)
        path = self._path()
        if len(self._open) >= MAX_DEPTH:
            self.report(f"nested deeper than {MAX_DEPTH} levels", path[:8], line, "flatten the document")
            raise _Stop
        if event.tag is not None and event.tag not in _TAGS:
            self.report(f"tag `{event.tag}` is not allowed", path, line, "remove the tag")
        value: list[Any] | dict[str, Any] = [] if isinstance(event, yaml.SequenceStartEvent) else {}
        self._add(value, line)
        self._open.append(_Frame(value, path, event.anchor, self._count))
        if event.anchor:
            self._anchors.pop(event.anchor, None)

    def _alias(self, name: str, line: int) -> None:
        if any(frame.anchor == name for frame in self._open):
            self.report(f"alias `*{name}` contains itself", self._path(), line, "write the value out")
            raise _Stop
        if name not in self._anchors:
            self.report(f"unknown alias `*{name}`", self._path(), line, f"mark what it repeats with `&{name}` before it")
            raise _Stop
        value, weight = self._anchors[name]
        self._count_values(weight, line)
        self._add(value, line)

    def _count_values(self, number: int, line: int) -> None:
        self._count += number
        if self._count > MAX_VALUES:
            self.report(f"more than {MAX_VALUES} values, aliases expanded", (), line, "keep data out of the pipeline")
            raise _Stop

    def _path(self) -> Path:
        if not self._open:
            return ()
        frame = self._open[-1]
        return (*frame.path, len(frame.value) if isinstance(frame.value, list) else str(frame.key))

    def _add(self, value: Any, line: int) -> None:
        if not self._open:
            self.value = value
            self.lines[()] = line
            return
        frame = self._open[-1]
        if isinstance(frame.value, list):
            self.lines[(*frame.path, len(frame.value))] = line
            frame.value.append(value)
        elif frame.key is _NOTHING:
            self._take_key(frame, value, line)
        else:
            path = (*frame.path, frame.key)
            if frame.key not in frame.value:
                self.lines[path] = frame.key_line
                frame.value[frame.key] = value
            frame.key = _NOTHING

    def _take_key(self, frame: _Frame, key: Any, line: int) -> None:
        assert isinstance(frame.value, dict)
        if not isinstance(key, str):
            suggestion = "put a value that starts with a template in quotes" if isinstance(key, dict) else "put it in quotes"
            self.report(f"a key must be text, not {_shown(key)}", frame.path, line, suggestion)
            key = f"\x00{len(frame.value)}"
        elif key in frame.value:
            first = self.lines[(*frame.path, key)]
            self.report(f"duplicate key `{key}`, first on line {first}", (*frame.path, key), line, "keep one of them")
        frame.key, frame.key_line = key, line

    def _scalar(self, event: yaml.ScalarEvent, line: int) -> Any:
        if event.tag is not None and event.tag not in _TAGS and event.tag != "!":
            self.report(f"tag `{event.tag}` is not allowed", self._path(), line, "remove the tag")
        if event.style or event.tag in ("!", "tag:yaml.org,2002:str"):
            return self._text(event.value, line)
        text = event.value
        if text == "<<" and self._open and isinstance(self._open[-1].value, dict) and self._open[-1].key is _NOTHING:
            self.report("merge keys (`<<`) are not supported", self._open[-1].path, line, "write the keys out")
        if _NOT_FINITE.match(text):
            self.report(f"`{text}` is not a finite number", self._path(), line, "put it in quotes if it is meant as text")
            return None
        value = resolve_scalar(text)
        too_large = (isinstance(value, int) and abs(value) > MAX_INTEGER) or (isinstance(value, float) and not math.isfinite(value))
        if too_large:
            self.report("the number is too large", self._path(), line, "put it in quotes if it is meant as text")
            return None
        return self._text(value, line) if isinstance(value, str) else value

    def _text(self, text: str, line: int) -> str:
        if not is_unicode(text):
            self.report("text that is not valid Unicode", self._path(), line, "remove the lone surrogate")
            return ""
        return text


def _shown(key: Any) -> str:
    return "a list or map" if isinstance(key, list | dict) else f"`{key}`"


def resolve_scalar(text: str) -> Any:
    """Value of a plain scalar under the YAML 1.2 core schema."""
    if _NULL.match(text):
        return None
    if _BOOLEAN.match(text):
        return text.lower() == "true"
    if _INTEGER.match(text):
        return int(text) if len(text) <= 40 else MAX_INTEGER + 1
    if _PREFIXED.match(text):
        return int(text, 0)
    if FLOAT.match(text):
        return float(text)
    return text


def _scanner_reason(error: yaml.MarkedYAMLError) -> str:
    return " ".join(part for part in (error.context, error.problem) if part) or "not YAML"


def _scanner_suggestion(error: yaml.MarkedYAMLError, text: str, mark: yaml.Mark | None) -> str:
    line = next(_nth_line(text, mark.line), "") if mark else ""
    if "\t" in line:
        return "indent with spaces, not tabs"
    if "{{" in line or "{%" in line:
        return "put a value that starts with a template in quotes"
    if "mapping values are not allowed" in (error.problem or ""):
        return "put text with a colon in quotes, or check the indentation"
    return "check quotes, brackets and indentation around this line"


def _nth_line(text: str, number: int) -> Iterator[str]:
    lines = text.split("\n")
    if 0 <= number < len(lines):
        yield lines[number]
