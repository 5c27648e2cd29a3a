"""Whoever calls a pipeline relies on all its outputs, of which only one is graded."""

from __future__ import annotations

import random
from dataclasses import replace
from typing import Any

import pytest

from shared.pipeline.loading import load_document
from shared.search.candidates import Entry
from shared.search.genome import keeps_outputs, with_room
from shared.search.menu import OperatorMenu, candidate_of
from shared.search.operators import all_operators
from tests.fakes.evolution_world import seed_document
from tests.unit.evolution.test_search_operators import CONTEXT, free_text_document

CLASSIFIES = seed_document()
CLASSIFIES["outputs"] = {**CLASSIFIES["outputs"], "raw": "{{ steps.classify.result }}"}
ASKS = free_text_document()
ASKS["outputs"] = {"raw": "{{ steps.ask.text }}", **ASKS["outputs"]}
NAMED = free_text_document() | {"outputs": {"mood": "{{ steps.ask.text }}"}}


@pytest.mark.parametrize("given", [CLASSIFIES, ASKS, NAMED], ids=["classifies", "asks", "one of another name"])
@pytest.mark.parametrize(
    "operator", [one for one in all_operators() if one.name not in ("transfer", "graft_template")], ids=lambda one: one.name
)
def test_an_operator_keeps_every_output(given: dict[str, Any], operator: Any) -> None:
    document = load_document(given).canonical()
    for number in range(20):
        offer = operator.apply(document, CONTEXT, random.Random(number))
        if offer is not None:
            assert set(offer.document["outputs"]) == set(document["outputs"])
            load_document(with_room(offer.document))


@pytest.mark.parametrize("name", ["transfer", "graft_template"])
async def test_what_was_made_for_another_task_is_no_candidate_where_an_output_would_be_missing(name: str) -> None:
    lost = 0
    for given in (CLASSIFIES, ASKS, NAMED):
        document = load_document(given)
        menu = OperatorMenu(all_operators(), replace(CONTEXT, seed=document.canonical()), None)
        for number in range(20):
            generator = random.Random(number)
            offer = menu._operators[name].apply(document.canonical(), menu._context, random.Random(number))
            child = await menu.propose(name, Entry(candidate_of(document)), (), generator)
            lost += offer is not None and not keeps_outputs(document.canonical(), offer.document)
            assert child is None or keeps_outputs(document.canonical(), child.document)
    assert lost, "there is something to refuse"
