"""From YAML or a map to a checked document, and back to YAML."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import yaml
from pydantic import ValidationError

from shared.errors import InvalidInputError, Problem
from shared.pipeline.checks import Fault, check, fault_place
from shared.pipeline.document import Document
from shared.pipeline.inference import complete
from shared.pipeline.places import Places
from shared.pipeline.plain_values import Path, plain_problems
from shared.pipeline.salvage import remaining_faults
from shared.pipeline.shape_problems import shape_problems
from shared.pipeline.yaml_source import FLOAT, Source, read_yaml, resolve_scalar

_OTHER_BREAKS = re.compile("[\r\x85\u2028\u2029\ufeff]")
"""Line breaks that YAML would fold or normalise outside double quotes."""


def load_document(source: str | Mapping[str, Any], *, file: str = "") -> Document:
    """Parses and checks a pipeline written as YAML text or held as a map; `file` only names it in problems.

    Undeclared names become required inputs, and missing schemas are inferred from the fields that other steps read. Raises
    `InvalidInputError` with every problem found: file, line, path, reason, suggestion."""
    read = read_yaml(source, file) if isinstance(source, str) else _as_source(source, file)
    if read.problems and not (read.is_whole and isinstance(read.value, Mapping)):
        raise InvalidInputError(read.problems)
    place = Places(read, file)
    if not isinstance(place.root, Mapping):
        raise InvalidInputError(
            place.problem((), "a pipeline must be a map with `name` and `steps`", "write at least `name: ...` and `steps:`")
        )
    document, problems = _checked(place)
    told = {problem.path for problem in read.problems}
    problems = [*read.problems, *(each for each in problems if each.path not in told and "\0" not in each.path)]
    if document is None or problems:
        raise InvalidInputError(_by_line(problems))
    return complete(document)


def _as_source(value: Mapping[str, Any], file: str) -> Source:
    return Source(value, {}, tuple(plain_problems(value, file)), is_whole=False)


def _checked(place: Places) -> tuple[Document | None, list[Problem]]:
    """The document where its shape is right, and every problem of shape and of content."""
    try:
        document = Document.model_validate(_plain(place.root))
    except ValidationError as error:
        paths = place.step_paths()
        rest = remaining_faults(_plain(place.root), error, paths)
        return None, [*shape_problems(error, place), *_fault_problems(rest, place, paths)]
    return document, _fault_problems(check(document), place, place.step_paths())


def dump_yaml(document: Document) -> str:
    """YAML that loads to the same digest: keys in the language's order, defaults left out, long text as blocks."""
    return yaml.dump(document.canonical(), Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=110)


def _fault_problems(faults: Sequence[Fault], place: Places, paths: Mapping[str, Sequence[Path]]) -> list[Problem]:
    problems = [place.problem(fault_place(fault, paths), fault.reason, fault.suggestion, fault.line) for fault in faults]
    return _by_line(dict.fromkeys(problems))


def _by_line(problems: Iterable[Problem]) -> list[Problem]:
    return sorted(problems, key=lambda problem: problem.line)


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
