"""CEL rules: compiled and type-checked once, evaluated in microseconds. The engine is Google's own (`cel-expr-python`)."""

from __future__ import annotations

import difflib
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from cel_expr_python import cel
from pydantic import BaseModel, ConfigDict, Field

from services.guardrail.domain.names import NAMES
from shared.errors import ConfigurationError

Effect = Literal["allow", "review", "veto"]
MAX_INTEGER = 2**53
"""Beyond it a number is not the same in every reader of the document."""
_UNDECLARED = re.compile(r"undeclared reference to '([^']+)'")
_COMPLAINT = re.compile(r"ERROR: <input>:(\d+):(\d+): ([^\n]+?)(?: \(in container ''\))?(?:\n|$)")
_TYPES = {
    "string": cel.Type.STRING,
    "bool": cel.Type.BOOL,
    "int": cel.Type.INT,
    "double": cel.Type.DOUBLE,
    "strings": cel.Type.List(cel.Type.STRING),
}


class Rule(BaseModel):
    """Holds where the CEL expression `when` is true. `show`, a CEL expression too, names the offenders behind the reason."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    id: str = Field(pattern=r"^[a-z][a-z0-9-]{0,62}$")
    effect: Effect
    when: str = Field(min_length=1, max_length=2000)
    reason: str = Field(min_length=1, max_length=500)
    show: str = Field(default="", max_length=2000)
    do: str = Field(default="", max_length=500)
    """What the author may do about it."""


NEXT: Mapping[Effect, str] = {
    "veto": "propose it without this, or propose a policy that permits it",
    "review": "a person decides: `evoline review list`",
    "allow": "",
}
"""What comes next where a rule does not say so itself."""


@dataclass(frozen=True)
class CompiledRule:
    rule: Rule
    when: Any
    show: Any

    def judge(self, activation: Any) -> tuple[Effect | None, str]:
        """(effect, reason) where the rule holds, (None, "") where it does not. What cannot be judged asks people."""
        found = _evaluated(self.when, activation)
        if isinstance(found, bool):
            return (self.rule.effect, self._reason(activation)) if found else (None, "")
        return "review", f"rule {self.rule.id} could not be evaluated ({found}): a person has to decide [{self.rule.id}]"

    def _reason(self, activation: Any) -> str:
        shown = f": {_offenders(self.show, activation)}" if self.show is not None else ""
        advice = self.rule.do or NEXT[self.rule.effect]
        return f"{self.rule.reason}{shown}{f' ({advice})' if advice else ''} [{self.rule.id}]"


class RuleBook:
    """The rules of one policy over the names of the table and over the policy's own lists (`allowed.x`, `domains.x`)."""

    def __init__(self, rules: Sequence[Rule], lists: Mapping[str, Mapping[str, Any]]) -> None:
        """Raises `ConfigurationError` naming every rule that is wrong, with its place and the nearest known name."""
        self._lists = {f"{root}.{name}": value for root, fields in lists.items() for name, value in fields.items()}
        types = {name: _TYPES[kind] for name, kind in NAMES.items()}
        wrong: list[str] = []
        for name, value in self._lists.items():
            if problem := _unusable(name, value):
                wrong.append(problem)
            else:
                types[name] = _type_of(value)
        self._environment = cel.NewEnv(variables=types)
        self._known = tuple(types)
        self.rules = () if wrong else tuple(self._compiled(rule, wrong) for rule in rules)
        wrong += [f"rule {name} stands twice" for name in sorted(_doubled([rule.id for rule in rules]))]
        if wrong:
            raise ConfigurationError(f"the policy cannot be used: {'; '.join(wrong)}")

    def activation(self, names: Mapping[str, Any]) -> Any:
        """What one change's values are; a name that is missing makes the rules that use it ask people."""
        return self._environment.Activation({**{name: names[name] for name in NAMES if name in names}, **self._lists})

    def _compiled(self, rule: Rule, wrong: list[str]) -> CompiledRule:
        when = self._program(rule, "when", rule.when, wrong)
        if when is not None and when.return_type() not in (cel.Type.BOOL, cel.Type.DYN):
            wrong.append(f"rule {rule.id}: `when` gives {when.return_type().name().lower()}, and must give true or false")
        show = self._program(rule, "show", rule.show, wrong) if rule.show else None
        return CompiledRule(rule, when, show)

    def _program(self, rule: Rule, field: str, text: str, wrong: list[str]) -> Any:
        try:
            return self._environment.compile(text)
        except (RuntimeError, ValueError) as error:
            wrong.append(f"rule {rule.id}: `{field}`: {self._complaint(str(error))}")
            return None

    def _complaint(self, text: str) -> str:
        found = [f"{message} (line {line}, column {column})" for line, column, message in _COMPLAINT.findall(text)]
        near = [self._nearest(name) for name in _UNDECLARED.findall(text)]
        return "; ".join([*(found or [text.strip()]), *(each for each in near if each)])

    def _nearest(self, name: str) -> str:
        close = difflib.get_close_matches(name, self._known, n=1, cutoff=0.5)
        known = sorted({each for each in self._known if each.split(".")[0] == name.split(".")[0]})
        if close:
            return f"did you mean `{close[0]}`?"
        return f"known are {', '.join(known)}" if known else "see `Names in rules` in docs/policy.md"


def _evaluated(program: Any, activation: Any) -> Any:
    """The plain value, or the error as text."""
    try:
        value = program.eval(activation)
    except RuntimeError as error:
        return str(error)
    found = value.plain_value()
    return str(found) if value.type() == cel.Type.ERROR else found


def _offenders(show: Any, activation: Any) -> str:
    try:
        value = show.eval(activation)
    except RuntimeError:
        return "?"
    if value.type() == cel.Type.ERROR:
        return "?"
    found = value.plain_value()
    return ", ".join(map(str, found)) if isinstance(found, list) else str(found)


def _unusable(name: str, value: Any) -> str:
    if not re.fullmatch(r"[a-z]+\.[A-Za-z_][A-Za-z0-9_]*", name):
        return f"{name}: a name in a rule has letters, digits and underscores only"
    if value is None or isinstance(value, dict):
        return f"{name}: must be a text, a number, true, false, or a list"
    if isinstance(value, int) and not isinstance(value, bool) and abs(value) > MAX_INTEGER:
        return f"{name}: {value} is too large; at most {MAX_INTEGER}"
    members = {type(each) for each in value} if isinstance(value, list | tuple) else set()
    if len(members) > 1 or members - {str, int, float, bool}:
        return f"{name}: the members of a list are all texts, or all numbers of one kind"
    return ""


def _type_of(value: Any) -> Any:
    plain = {str: cel.Type.STRING, bool: cel.Type.BOOL, int: cel.Type.INT, float: cel.Type.DOUBLE}
    if isinstance(value, list | tuple):
        return cel.Type.List(plain[type(value[0])] if value else cel.Type.STRING)
    return plain[type(value)]


def _doubled(names: Sequence[str]) -> set[str]:
    return {name for name in names if names.count(name) > 1}
