"""Maturity of a pipeline: what an experimental, a beta and a production one may use."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any, Literal, get_args

from pydantic import BaseModel, ConfigDict, field_validator

Maturity = Literal["experimental", "beta", "production"]
MATURITIES: tuple[Maturity, ...] = get_args(Maturity)
"""Lowest first."""
UNKNOWN = "unknown"
"""Of a nested pipeline whose name is computed when it runs."""
_NESTS: Mapping[Maturity, tuple[str, ...]] = {
    "experimental": (*MATURITIES, UNKNOWN),
    "beta": (*MATURITIES, UNKNOWN),
    "production": ("beta", "production"),
}


class MaturityRule(BaseModel):
    """None means no narrower bound than `allowed`."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    domains: tuple[str, ...] | None = None
    """Regular expressions, one of which matches the whole domain."""
    providers: tuple[str, ...] | None = None
    models: tuple[str, ...] | None = None
    functions: tuple[str, ...] | None = None
    datasets: tuple[str, ...] | None = None
    """Ids of the datasets that a change may be measured on."""
    step_types: tuple[str, ...] | None = None
    nests: tuple[Literal["experimental", "beta", "production", "unknown"], ...] | None = None
    """Maturities of the pipelines that it may run; None: a production pipeline nests beta and production, others anything."""

    @field_validator("domains")
    @classmethod
    def _compile(cls, patterns: tuple[str, ...] | None) -> tuple[str, ...] | None:
        for pattern in patterns or ():
            try:
                re.compile(pattern)
            except re.error as error:
                raise ValueError(f"{pattern!r} is no regular expression: {error}") from error
        return patterns


def is_raised(before: Maturity, after: Maturity) -> bool:
    return MATURITIES.index(after) > MATURITIES.index(before)


def outside(rules: Mapping[Maturity, MaturityRule], names: Mapping[str, Any]) -> list[tuple[str, str]]:
    """(id, reason) of every bound of the change's maturity that it passes. Templates and policies run nothing themselves."""
    change = names.get("change", {})
    if change.get("kind") in ("template", "policy"):
        return []
    maturity = change.get("maturity", "")
    if maturity not in MATURITIES:
        return [("maturity", f"{maturity!r} is no maturity (one of {', '.join(MATURITIES)}) [maturity]")]
    rule = rules.get(maturity, MaturityRule())
    return [(f"maturity-{noun}", _reason(maturity, noun, found)) for noun, found in _excess(rule, maturity, names)]


def _excess(rule: MaturityRule, maturity: Maturity, names: Mapping[str, Any]) -> Iterator[tuple[str, list[str]]]:
    change, facts = names.get("change", {}), names.get("facts", {})
    for noun in ("step_types", "providers", "models", "functions"):
        permitted = getattr(rule, noun)
        if permitted is not None and (extra := sorted(set(facts.get(noun, ())) - set(permitted))):
            yield noun, extra
    dataset = change.get("dataset", "")
    if rule.datasets is not None and dataset and dataset not in rule.datasets:
        yield "datasets", [dataset]
    domain = change.get("domain", "")
    if rule.domains is not None and not any(re.fullmatch(pattern, domain) for pattern in rule.domains):
        yield "domains", [domain]
    nests = _NESTS[maturity] if rule.nests is None else rule.nests
    if extra := sorted(each for each in facts.get("nested_maturities", ()) if each.rsplit(": ", 1)[-1] not in nests):
        yield "nests", extra


def _reason(maturity: str, noun: str, found: list[str]) -> str:
    what = "run pipelines of this maturity" if noun == "nests" else f"use these {noun.replace('_', ' ')}"
    return (
        f"a pipeline in {maturity} must not {what}: {', '.join(found)} "
        f"(use what `maturities.{maturity}.{noun}` of the policy lists, or change the pipeline's maturity first) [maturity-{noun}]"
    )
