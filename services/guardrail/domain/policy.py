"""Policy: one versioned document of CEL rules and lists. What no rule allows waits for people; what cannot be judged does too."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator

from services.guardrail.domain.budgets import QuotaRules
from services.guardrail.domain.maturity import Maturity, MaturityRule, outside
from services.guardrail.domain.names import flat
from services.guardrail.domain.oversight import ReviewRules
from services.guardrail.domain.rules import Effect, Rule, RuleBook
from shared.errors import ConfigurationError
from shared.events.rollouts import RolloutPlan
from shared.events.values import Budget

NOTHING_MATCHED = "nothing-matched"
_UNMATCHED = f"no rule of the policy allows it: a person has to decide (`evoline review list`) [{NOTHING_MATCHED}]"


MAX_RULES = 500


class _Frozen(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


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
    on_undecided: Literal["veto", "review", "rollout"] = "veto"
    sealed_looks_a_day: int = Field(default=50, ge=0)
    """Measurements (`MeasurePipelines`) a dataset a UTC day."""


class RolloutRule(_Frozen):
    """Which changes of a serving pipeline are rolled out step by step instead of replacing it at once."""

    when: str = Field(default="false", min_length=1, max_length=2000)
    """CEL, with the names of the rules; true, or what cannot be evaluated: by a rollout."""
    plan: RolloutPlan = RolloutPlan()
    """For changes and commands that bring none."""


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
    reviews: ReviewRules = ReviewRules()
    attestation_days: float = Field(default=1825, gt=0)
    gate: GateRule = GateRule()
    rollout: RolloutRule = RolloutRule()
    scopes: dict[str, ScopeRule]
    maturities: dict[Maturity, MaturityRule] = Field(default_factory=dict)
    """What a pipeline of this maturity may use at most; `allowed` stays the outer bound."""
    quotas: QuotaRules = QuotaRules()
    rules: tuple[Rule, ...] = Field(min_length=1, max_length=MAX_RULES)


@dataclass(frozen=True)
class PolicyDecision:
    effect: Effect
    decided_by: str
    """`policy:<id of the first rule with this effect>`."""
    reasons: tuple[str, ...]


class Policy:
    """A parsed policy, its rules compiled once. `revision` is the SHA-256 of its content: what attestations name."""

    def __init__(self, document: PolicyDocument, content: Mapping[str, Any] | None = None) -> None:
        """`content` is the document as it was written, so that a later version of this class names it the same. Raises
        `ConfigurationError` naming every rule that is wrong."""
        self.document = document
        self.content = dict(content) if content is not None else document.model_dump(mode="json", exclude_unset=True)
        self.revision = hashlib.sha256(_canonical(self.content)).hexdigest()
        lists = {"allowed": document.allowed, "domains": document.domains.model_dump(mode="json")}
        self._book = RuleBook(document.rules, lists)
        preference = Rule(id="rollout-when", effect="review", when=document.rollout.when, reason="it is rolled out step by step")
        self._rollout = RuleBook((preference,), lists)

    @classmethod
    def parse(cls, content: Any, source: str) -> Policy:
        """From a loaded YAML map. Raises `ConfigurationError` with everything that is wrong in `source`."""
        try:
            document = PolicyDocument.model_validate(content)
        except ValidationError as error:
            found = "; ".join(f"{'.'.join(map(str, each['loc']))}: {each['msg']}" for each in error.errors())
            raise ConfigurationError(f"the policy {source} is wrong: {found}") from error
        return cls(document, content)

    def uses(self, name: str) -> bool:
        """Whether a rule names it."""
        return any(re.search(rf"\b{re.escape(name)}\b", f"{rule.when} {rule.show}") for rule in self.document.rules)

    def requires_rollout(self, names: Mapping[str, Any]) -> bool:
        """Whether a change of a serving pipeline is rolled out. What cannot be judged is."""
        return self._rollout.rules[0].judge(self._rollout.activation(flat(names)))[0] is not None

    def decide(self, names: Mapping[str, Any]) -> PolicyDecision:
        """Judges a change by its `names` (see `domain/names.py`). The first veto wins, then review, then allow.

        A rule that cannot be evaluated counts as one that asks for review; so does a change that no rule matches. What the
        change's maturity does not permit is a veto like a rule's, and no rule can lift it."""
        activation = self._book.activation(flat(names))
        matched: dict[Effect, list[tuple[str, str]]] = {"veto": [], "review": [], "allow": []}
        for rule in self._book.rules:
            effect, reason = rule.judge(activation)
            if effect is not None:
                matched[effect].append((rule.rule.id, reason))
        matched["veto"] += outside(self.document.maturities, names)
        for effect, found in matched.items():
            if found:
                return PolicyDecision(effect, f"policy:{found[0][0]}", tuple(reason for _, reason in found))
        return PolicyDecision("review", f"policy:{NOTHING_MATCHED}", (_UNMATCHED,))


def _canonical(content: Mapping[str, Any]) -> bytes:
    try:
        text = json.dumps(content, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False)
    except (TypeError, ValueError) as error:
        raise ConfigurationError(f"the policy holds what JSON cannot: {error}; write texts in quotes") from error
    return text.encode()
