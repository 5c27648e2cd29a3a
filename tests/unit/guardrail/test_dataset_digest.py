"""A data set's digest is for ever: what was registered under it is registered again under the same."""

from __future__ import annotations

import pytest

from services.guardrail.domain.datasets import dataset_digest, split_cases
from shared.events.values import Case, GraderSpec

CASES = (
    Case(id="c1", input={"text": "a ünder"}, expected="good", split="train", tags=("x",)),
    Case(id="c2", input={"text": "b"}, expected={"n": 1.5, "m": None}, split="dev"),
    Case(id="c3", input={"text": "c"}, expected=None, split="sealed"),
)
PINNED = "2bc7b9a676d747006b00681decc15d711c116685d7491616db9001e0f248cab3"


class LaterCase(Case):
    """With fields that a newer version added."""

    weight: float = 1.0
    source: str | None = None


def digest_of(*cases: Case) -> str:
    return dataset_digest("support", GraderSpec(kind="label"), split_cases("d", cases))


def later(**fields: object) -> tuple[Case, ...]:
    return tuple(LaterCase.model_validate({**case.model_dump(), **fields}) for case in CASES)


def test_digests_of_today_stay_valid() -> None:
    assert digest_of(*CASES) == PINNED
    assert digest_of(*reversed(CASES)) == PINNED


@pytest.mark.parametrize("fields", [{}, {"weight": 1.0, "source": None}])
def test_a_field_that_came_later_and_says_nothing_changes_no_digest(fields: dict[str, object]) -> None:
    assert digest_of(*later(**fields)) == PINNED


@pytest.mark.parametrize("fields", [{"weight": 2.0}, {"source": "mail"}, {"tags": ("y",)}, {"expected": "bad"}])
def test_whatever_a_case_says_counts(fields: dict[str, object]) -> None:
    assert digest_of(*later(**fields)) != PINNED
