"""Policy: one versioned document of CEL rules and lists. What no rule allows waits for people; what cannot be judged does too."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import celpy
from celpy.adapter import json_to_cel
from celpy.celparser import CELParseError
from celpy.celtypes import BoolType, ListType
from celpy.evaluation import CELEvalError
from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator

from services.guardrail.domain.budgets import QuotaRules
from shared.errors import ConfigurationError
from shared.events.values import Budget

Effect = Literal["allow", "review", "veto"]
NOTHING_MATCHED = "nothing-matched"


class _Frozen(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class Rule(_Frozen):
    """Holds where the CEL expression `when` is true. `show`, a CEL expression too, names the offenders behind the reason."""

    id: str = Field(pattern=r"^[a-z][a-z0-9-]{0,62}$")
    effect: Effect
    when: str = Field(min_length=1, max_length=2000)
    reason: str = Field(min_length=1, max_length=500)
    show: str = ""
    do: str = ""
    """What the author may do about it."""


class ScopeRule(_Frozen):
    """What one trial scope of a purpose may allow at most, and what all of a UTC day may."""

    step_types: tuple[str, ...]
    providers: tuple[str, ...]
    functions: tuple[str, ...] = ()
    budget: Budget
    seconds: float = Field(gt=0, le=86_400)
    daily: Budget


class GateRule(_Frozen):
    alpha_total: float = Field(default=0.10, gt=0, lt=0.5)
    """All error that the promotions of one pipeline may ever spend on one dataset."""
    alpha_first: float = Field(default=0.05, gt=0, lt=0.5)
    """What its first look spends; every further look spends half of the one before."""
    alpha_least: float = Field(default=0.0005, gt=0)
    """Below this a look can show nothing: refused, the sealed cases must be renewed."""
    failure_tolerance: float = Field(default=0.05, ge=0, le=1)
    """Share of cases that may fail more often than with the incumbent."""
    on_undecided: Literal["veto", "review"] = "veto"
    sealed_looks_a_day: int = Field(default=50, ge=0)
    """Measurements (`MeasurePipelines`) a dataset a UTC day."""


class DomainRule(_Frozen):
    pattern: str
    """Regular expression of allowed domains."""
    refused: tuple[str, ...] = ()

    @field_validator("pattern")
    @classmethod
    def _compiles(cls, pattern: str) -> str:
        try:
            re.compile(pattern)
        except re.error as error:
            raise ValueError(f"no regular expression: {error}") from error
        return pattern

    def allows(self, domain: str) -> bool:
        return re.fullmatch(self.pattern, domain) is not None and domain not in self.refused


class PolicyDocument(_Frozen):
    policy: str
    version: int = Field(ge=1)
    description: str = ""
    domains: DomainRule
    allowed: dict[str, Any]
    """Lists and numbers that the rules refer to as `allowed`."""
    review_hours: float = Field(default=72, gt=0)
    attestation_days: float = Field(default=1825, gt=0)
    gate: GateRule = GateRule()
    scopes: dict[str, ScopeRule]
    quotas: QuotaRules = QuotaRules()
    rules: tuple[Rule, ...] = Field(min_length=1)


@dataclass(frozen=True)
class PolicyDecision:
    effect: Effect
    decided_by: str
    """`policy:<id of the first rule with this effect>`."""
    reasons: tuple[str, ...]


class Policy:
    """A parsed policy, its rules compiled once. `revision` is the SHA-256 of its content: what attestations name."""

    def __init__(self, document: PolicyDocument) -> None:
        """Raises `ConfigurationError` naming every rule that does not parse."""
        self.document = document
        text = json.dumps(document.model_dump(mode="json"), sort_keys=True, separators=(",", ":"))
        self.revision = hashlib.sha256(text.encode()).hexdigest()
        self._lists = {
            "allowed": json_to_cel(document.allowed),
            "domains": json_to_cel(document.domains.model_dump(mode="json")),
        }
        self._rules = _compiled(document.rules)

    @classmethod
    def parse(cls, content: Any, source: str) -> Policy:
        """From a loaded YAML map. Raises `ConfigurationError` with everything that is wrong in `source`."""
        try:
            document = PolicyDocument.model_validate(content)
        except ValidationError as error:
            found = "; ".join(f"{'.'.join(map(str, each['loc']))}: {each['msg']}" for each in error.errors())
            raise ConfigurationError(f"the policy {source} is wrong: {found}") from error
        return cls(document)

    def decide(self, names: Mapping[str, Any]) -> PolicyDecision:
        """Judges `names`: `change`, `facts`, `diff`, `risk`, `evidence`, `budget`. The first veto wins, then review, then allow.

        A rule that cannot be evaluated counts as one that asks for review; so does a change that no rule matches."""
        context = {**{name: json_to_cel(value) for name, value in names.items()}, **self._lists}
        matched: dict[Effect, list[tuple[str, str]]] = {"veto": [], "review": [], "allow": []}
        for rule in self._rules:
            effect, reason = rule.judge(context)
            if effect is not None:
                matched[effect].append((rule.rule.id, reason))
        for effect, found in matched.items():
            if found:
                return PolicyDecision(effect, f"policy:{found[0][0]}", tuple(reason for _, reason in found))
        return PolicyDecision("review", f"policy:{NOTHING_MATCHED}", ("no rule of the policy allows it: a person has to decide",))


@dataclass(frozen=True)
class _CompiledRule:
    rule: Rule
    when: Any
    show: Any

    def judge(self, context: Mapping[str, Any]) -> tuple[Effect | None, str]:
        try:
            holds = self.when.evaluate(context)
        except CELEvalError as error:
            return "review", f"rule {self.rule.id} could not be evaluated ({error.args[0]}): a person has to decide"
        if not isinstance(holds, BoolType | bool):
            return "review", f"rule {self.rule.id} gave {holds!r} instead of true or false: a person has to decide"
        return (self.rule.effect, self._reason(context)) if holds else (None, "")

    def _reason(self, context: Mapping[str, Any]) -> str:
        shown = f": {_offenders(self.show, context)}" if self.show is not None else ""
        advice = f" ({self.rule.do})" if self.rule.do else ""
        return f"{self.rule.reason}{shown}{advice} [{self.rule.id}]"


def _offenders(show: Any, context: Mapping[str, Any]) -> str:
    try:
        value = show.evaluate(context)
    except CELEvalError:
        return "?"
    return ", ".join(map(str, value)) if isinstance(value, ListType) else str(value)


def _compiled(rules: Sequence[Rule]) -> tuple[_CompiledRule, ...]:
    environment = celpy.Environment()
    compiled, wrong = [], []
    for rule in rules:
        try:
            programs = [environment.program(environment.compile(text)) if text else None for text in (rule.when, rule.show)]
        except CELParseError as error:
            wrong.append(f"rule {rule.id}: {error}")
            continue
        compiled.append(_CompiledRule(rule, *programs))
    doubled = {rule.id for rule in rules if sum(other.id == rule.id for other in rules) > 1}
    wrong += [f"rule {name} stands twice" for name in sorted(doubled)]
    if wrong:
        raise ConfigurationError(f"the policy cannot be used: {'; '.join(wrong)}")
    return tuple(compiled)
