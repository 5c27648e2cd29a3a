from __future__ import annotations

from collections.abc import Sequence

import pytest

from services.guardrail.use_cases import get_dataset, register_dataset
from shared.errors import InvalidInputError, NotFoundError
from shared.events.datasets import DatasetRefused, DatasetRegistered, GetDataset
from shared.events.values import Case, GraderSpec
from tests.fakes.guardrail import bench, cases, dataset, facts


def reasons(found: Sequence[object]) -> str:
    (fact,) = found
    assert isinstance(fact, DatasetRefused), fact
    return "\n".join(str(problem) for problem in fact.problems)


async def test_a_dataset_is_registered_with_its_split_counted() -> None:
    (fact,) = await bench().register()
    assert isinstance(fact, DatasetRegistered)
    assert (fact.train, fact.dev, fact.sealed) == (4, 4, 60)


async def test_the_same_cases_in_another_order_are_a_no_op() -> None:
    at = bench()
    (first,) = await at.register()
    (second,) = await at.register(list(reversed(cases())))
    assert first == second
    assert len(await at.at.audit.entries()) == 1


async def test_other_cases_under_a_taken_id_are_refused_and_change_nothing() -> None:
    at = bench()
    await at.register()
    before = await at.at.datasets.cases("tweets", "sealed")
    assert "registered already" in reasons(await at.register(cases(61)))
    assert await at.at.datasets.cases("tweets", "sealed") == before


async def test_cases_without_a_split_get_theirs_by_hash() -> None:
    unsplit = [case.model_copy(update={"split": None}) for case in cases(92)]
    at = bench()
    (fact,) = await at.register(unsplit)
    assert isinstance(fact, DatasetRegistered)
    assert fact.train + fact.dev + fact.sealed == 100
    assert min(fact.train, fact.dev, fact.sealed) >= 15


async def test_all_problems_come_at_once() -> None:
    found = cases(4)
    twin = found[0].model_copy(update={"id": "twin", "split": "sealed"})
    bad = [*found, found[1], twin, Case(id="empty", input={"text": "x"}, expected=None, split="dev")]
    text = reasons(facts(await register_dataset(dataset(bad), bench().at)))
    assert "train-0001" in text and "more than once" in text
    assert "several splits" in text and "twin" in text
    assert "empty" in text and "no label" in text


async def test_inputs_that_differ_only_in_case_and_space_are_twins() -> None:
    found = cases(6)
    shouted = Case(id="loud", input={"text": f"  {found[0].input['text'].upper()} "}, expected="good", split="sealed")
    assert "several splits" in reasons(await bench().register([*found, shouted]))


@pytest.mark.parametrize("grader", ["label", "exact", "normalized"])
async def test_one_class_is_refused_since_a_constant_would_win(grader: str) -> None:
    command = dataset(cases(10, labels=("good",)), grader=GraderSpec.model_validate({"kind": grader}))
    assert "constant answer" in reasons(facts(await register_dataset(command, bench().at)))


async def test_one_class_in_the_sealed_split_alone_is_refused() -> None:
    lone = [case for case in cases(20) if case.split != "sealed" or case.expected == "good"]
    assert "all 10 sealed cases have the same label" in reasons(await bench().register(lone))


async def test_null_is_a_label_only_inside_an_object() -> None:
    rows = [
        case.model_copy(update={"expected": {"amount": None if number % 2 else number, "currency": "EUR"}})
        for number, case in enumerate(cases(10))
    ]
    command = dataset(rows, grader=GraderSpec(kind="json_fields"))
    (fact,) = facts(await register_dataset(command, bench().at))
    assert isinstance(fact, DatasetRegistered)


async def test_a_grader_that_finds_the_label_itself_wrong_is_refused() -> None:
    command = dataset(cases(10), grader=GraderSpec(kind="numeric"))
    assert "does not find the label" in reasons(facts(await register_dataset(command, bench().at)))


async def test_too_few_sealed_cases_are_refused() -> None:
    assert "2 cases in sealed" in reasons(await bench().register(cases(2)))


async def test_sealed_cases_are_never_told() -> None:
    at = bench()
    await at.register()
    with pytest.raises(InvalidInputError, match="shown to nobody"):
        await get_dataset(GetDataset(dataset_id="tweets", splits=("train", "sealed")), at.at)
    answer = await get_dataset(GetDataset(dataset_id="tweets"), at.at)
    assert {case["split"] for case in answer["cases"]} == {"train", "dev"}
    assert answer["counts"]["sealed"] == 60


async def test_sealed_cases_stand_in_their_own_database_only() -> None:
    at = bench()
    await at.register()
    assert await at.sealed.collection("cases").count({}) == 1
    for name in ("datasets", "cases", "audit"):
        for document in await at.database.collection(name).find({}):
            assert "sealed message number" not in str(document)


async def test_an_unknown_dataset_is_said_to_be_unknown() -> None:
    with pytest.raises(NotFoundError, match="nothing"):
        await get_dataset(GetDataset(dataset_id="nothing"), bench().at)
