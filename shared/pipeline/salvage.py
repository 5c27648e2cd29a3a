"""What else is wrong with a document whose shape is wrong already: its sound parts are checked like any other.

Whatever the models refuse is taken out or replaced by a stand-in until the rest is a document. Of what the checks then say,
only what the mending cannot have caused is told: an author sees all mistakes in one go and none that are not there."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from pydantic import ValidationError
from pydantic_core import ErrorDetails

import shared.pipeline.steps as step_types
from shared.pipeline.checks import Fault, check, fault_place
from shared.pipeline.document import Document
from shared.pipeline.plain_values import Path
from shared.pipeline.suggestions import nearest

MAX_ROUNDS = 8
_STAND_IN = "stand_in_"
_OF_ANY_STEP = ("name", "prompt", "system", "when", "after", "context")
"""What is kept of a step whose own options cannot be mended."""
_MAY_COME_FROM_MENDING = ("`loop` exists", "no step of this document", "a step of type")
_ABOUT_ONE_STEP = "step type"
"""Begins what a step type says of a step: doubtful only where that very step was mended."""


def remaining_faults(root: Any, error: ValidationError, step_paths: dict[str, list[Path]]) -> list[Fault]:
    """Faults beside those of shape; `root` is a copy that may be changed. Names of stand-ins are added to `step_paths`."""
    if not isinstance(root, Mapping) or not isinstance(root.get("steps"), list):
        return []
    mended = _Mended(dict(root), step_paths)
    for _ in range(MAX_ROUNDS):
        mended.take_out(error)
        try:
            document = Document.model_validate(mended.root)
        except ValidationError as again:
            error = again
            continue
        return [_without_stand_ins(fault) for fault in check(document) if mended.is_certain(fault)]
    return []


def _without_stand_ins(fault: Fault) -> Fault:
    """A suggestion names only what the author wrote."""
    listed = re.sub(rf"\b{_STAND_IN}\w+(, )?", "", fault.suggestion).replace(", )", ")").removesuffix(", ")
    return replace(fault, suggestion="" if listed.endswith("known: ") else listed)


def _follows_from_members(error: ErrorDetails) -> bool:
    """A list is too short for pydantic where each of its members is wrong."""
    return error["type"] == "too_short" and bool(error["input"])


class _Mended:
    def __init__(self, root: dict[str, Any], step_paths: dict[str, list[Path]]) -> None:
        self.root = root
        self._changed: set[Path] = set()
        self._kept: set[Path] = set()
        """Keys of steps that were mended as a whole, for which that changed nothing."""
        self._paths = step_paths

    def take_out(self, error: ValidationError) -> None:
        # From the back, so that what is taken out of a list moves nothing that is still to be taken out.
        found = [each for each in error.errors(include_url=False) if not _follows_from_members(each)]
        paths = {self._known(each["loc"]) for each in found}
        unnamed = {self._known(each["loc"]) for each in found if each["loc"][-1:] == ("name",) and each["type"] == "missing"}
        for path in sorted(paths, key=lambda each: [str(part) for part in each], reverse=True):
            only_name = path in unnamed and sum(self._known(each["loc"]) == path for each in found) == 1
            self._changed.add((*path, "name") if only_name else path)
            self._mend(path)

    def is_certain(self, fault: Fault) -> bool:
        """Whether the fault stands in the source and is not made by the mending."""
        path = fault_place(fault, self._paths)
        step = self._enclosing_step(path)
        if any(path[: len(changed)] == changed for changed in self._changed if not self._is_kept(path, changed, step)):
            return False
        mended_steps = any(changed and changed[0] == "steps" for changed in self._changed)
        if fault.reason.startswith(_ABOUT_ONE_STEP) and step is not None and self._is_doubtful(step):
            return False
        return not (mended_steps and fault.reason.startswith(_MAY_COME_FROM_MENDING))

    def _is_kept(self, path: Path, changed: Path, step: Path | None) -> bool:
        """Whether a step was mended as a whole, and what stands at `path` in it is as its author wrote it."""
        return changed == step and len(path) > len(step) and path[: len(step) + 1] in self._kept

    def _is_doubtful(self, step: Path) -> bool:
        """Whether more than the step's name was mended."""
        return any(changed[: len(step)] == step and changed != (*step, "name") for changed in self._changed)

    def _known(self, location: tuple[str | int, ...]) -> Path:
        """Path of an error in the mended document."""
        path: list[str | int] = []
        here: Any = self.root
        for part in location:
            inside = isinstance(here, Mapping) and part in here
            if inside or (isinstance(here, list) and isinstance(part, int) and part < len(here)):
                here = here[part]
                path.append(part)
        return tuple(path)

    def _mend(self, path: Path) -> None:
        step = self._enclosing_step(path)
        if step is None:
            self._mend_outside(path)
        else:
            self._mend_step(step, path[len(step) :])

    def _enclosing_step(self, path: Path) -> Path | None:
        """The innermost step that a path leads into."""
        for length in range(len(path), 1, -1):
            if isinstance(path[length - 1], int) and path[length - 2] == "steps":
                return path[:length]
        return None

    def _mend_outside(self, path: Path) -> None:
        if not path:
            self.root.setdefault("name", f"{_STAND_IN}document")
        elif path[0] == "name":
            self.root["name"] = f"{_STAND_IN}document"
        elif path[0] == "inputs" and len(path) > 1:
            self.root["inputs"][path[1]] = "any"
        else:
            self.root.pop(str(path[0]), None)

    def _mend_step(self, at: Path, inside: Path) -> None:
        holder = self._get(at[:-1])
        index = at[-1]
        assert isinstance(index, int)
        own = f"{_STAND_IN}{'_'.join(str(part) for part in at if isinstance(part, int))}"
        self._paths.setdefault(own, [at])
        step = holder[index]
        if not isinstance(step, Mapping):
            holder[index] = {"name": own, "type": "set_variable", "variable": "x"}
            return
        step = dict(step)
        holder[index] = step
        if not inside:
            self._whole_step(step, own, at)
        elif inside[0] == "name":
            step["name"] = own
        elif inside[0] == "type":
            step["type"] = nearest(str(step["type"]), step_types.type_names()) or "claude"
        else:
            step.pop(str(inside[0]), None)

    def _whole_step(self, step: dict[str, Any], own: str, at: Path) -> None:
        """Something is missing, or keys do not go together: what any step has is kept, as a step of the simplest type."""
        if not isinstance(step.get("name"), str):
            step["name"] = own
            if isinstance(step.get("type"), str):
                return
        elif at not in self._paths.setdefault(step["name"], []):
            self._paths[step["name"]].append(at)  # without a type it did not count as a step
            self._paths[step["name"]].sort(key=lambda path: [(isinstance(part, str), part) for part in path])
        for key in [key for key in step if key not in _OF_ANY_STEP]:
            del step[key]
        self._kept |= {(*at, key) for key in step if key != "name"}
        step["type"] = "claude"

    def _get(self, path: Path) -> Any:
        here: Any = self.root
        for part in path:
            here = here[part]
        return here
