"""A revision goes out of use with everything that it was made from, not with its parent alone."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from typing import Any

import pytest
from pydantic import ValidationError

from services.guardrail.adapters.audit_log import MongoAuditLog
from services.guardrail.domain.turns import Turns
from services.guardrail.use_cases import get_change, get_pipeline, quarantine_revision, release_revision, roll_back
from services.guardrail.use_cases.queries import resolved
from shared.errors import NotAttestedError
from shared.events.changes import MOST_ORIGINS, ChangeApproved, ChangeQueued, ChangeVetoed, GetChange
from shared.events.deployments import GetPipeline, RollbackPipeline
from shared.events.message import Message
from shared.events.recovery import QuarantineRefused, QuarantineRevision, ReleaseRevision, RevisionQuarantined
from tests.fakes.guardrail import Bench, bench, facts, pipeline, proposal
from tests.machine.interleaving import InterleavedDatabase
from tests.unit.guardrail.test_quarantine_races import MOST_OPERATIONS, again

TEMPLATE = "classify_learned"


async def approved(at: Bench, text: str, change_id: str, name: str = "triage", **fields: Any) -> str:
    (fact, *_) = await at.propose(pipeline(f"{text}: {{{{ text }}}}", name), change_id, **fields)
    assert isinstance(fact, ChangeApproved), fact
    return fact.digest


async def template(at: Bench, **fields: Any) -> str:
    document = pipeline("[[ instruction ]] {{ text }}", TEMPLATE)
    (fact, *_) = await at.propose(document, "t1", kind="template", deploy=False, **fields)
    assert isinstance(fact, ChangeApproved), fact
    return fact.digest


async def quarantine(at: Bench, digest: str, name: str, quarantine_id: str = "q1") -> Message:
    command = QuarantineRevision(quarantine_id=quarantine_id, pipeline=name, digest=digest, reason="it insults", author="alice")
    return facts(await again(lambda: quarantine_revision(command, at.at)))[0]


async def release(at: Bench, digest: str, name: str, change_id: str) -> Message:
    command = ReleaseRevision(change_id=change_id, pipeline=name, digest=digest, reason="it was not it", author="alice")
    return facts(await release_revision(command, at.at))[0]


async def test_what_took_steps_from_elsewhere_goes_out_with_whom_they_are_from() -> None:
    at = bench()
    learned, donor = await template(at), await approved(at, "Sort", "d1", "mails")
    seed = await approved(at, "Say", "c1")
    grafted = await approved(at, "Tell", "c2", parent_digest=seed, origins=(learned, donor))
    child = await approved(at, "Name", "c3", "other", parent_digest=grafted)
    fact = await quarantine(at, learned, TEMPLATE)
    assert isinstance(fact, RevisionQuarantined) and set(fact.quarantined) == {learned, grafted, child}
    for reference in (f"triage@{grafted}", "other"):
        with pytest.raises(NotAttestedError, match="quarantined"):
            await resolved(reference, at.at)
    assert (await resolved(f"triage@{seed}", at.at)).digest == seed and (await resolved("mails", at.at)).digest == donor


async def test_a_rollback_of_another_pipeline_reaches_what_borrowed_its_steps() -> None:
    at = bench()
    await approved(at, "Say", "c1")
    await approved(at, "Sort", "d1", "mails")
    bad = await approved(at, "Weigh", "d2", "mails")
    borrower = await approved(at, "Tell", "c2", origins=(bad,))
    back, *_ = facts(await roll_back(RollbackPipeline(rollback_id="b1", pipeline="mails", reason="x", author="alice"), at.at))
    assert set(back.quarantined) == {bad, borrower}  # type: ignore[attr-defined]


async def test_nothing_is_made_from_a_quarantined_origin_however_far_up() -> None:
    at = bench()
    learned = await template(at)
    middle = await approved(at, "Sort", "d1", "mails", origins=(learned,))
    await at.at.revisions.quarantine(learned, cause="q0", reason="x", at="")
    for name, origin in (("c1", learned), ("c2", middle)):
        (fact, *_) = await at.propose(pipeline(f"{name}: {{{{ text }}}}"), name, origins=(origin,))
        assert isinstance(fact, ChangeVetoed)
        assert any(f"it descends from {learned[:12]}, which is quarantined" in reason for reason in fact.reasons)


async def test_a_release_asks_for_every_origin() -> None:
    at = bench()
    learned, seed = await template(at), await approved(at, "Say", "c1")
    grafted = await approved(at, "Tell", "c2", parent_digest=seed, origins=(learned,), deploy=False)
    await quarantine(at, learned, TEMPLATE)
    refused = await release(at, grafted, "triage", "rel1")
    assert isinstance(refused, ChangeVetoed) and f"descends from {learned[:12]}" in refused.reasons[0]
    assert isinstance(await release(at, learned, TEMPLATE, "rel2"), ChangeQueued)
    await at.decide("rel2", reviewer="bob")
    assert isinstance(await release(at, grafted, "triage", "rel3"), ChangeQueued)


async def test_an_origin_that_is_quarantined_at_any_moment_of_an_approval_takes_the_new_revision_with_it() -> None:
    for operation in range(1, MOST_OPERATIONS):
        database = InterleavedDatabase()
        at = bench(database=database)
        other = replace(at, at=replace(at.at, audit=MongoAuditLog(database), turns=Turns()))
        learned = await template(at)
        await approved(at, "Say", "c1")
        database.between(operation, partial(quarantine, other, learned, TEMPLATE))
        await again(partial(at.propose, pipeline("Tell: {{ text }}"), "c2", origins=(learned,)))
        record = await at.at.changes.get("c2")
        assert record is not None
        if not database.is_done:
            assert record.status == "approved"
            break
        serving = await at.at.deployments.get("triage")
        assert serving is not None
        is_out = await at.at.revisions.is_quarantined(record.digest)
        assert is_out or serving.stable != record.digest, f"serves at operation {operation}"
    assert operation > 10


async def test_everything_that_it_was_made_from_is_told() -> None:
    at = bench()
    learned = await template(at)
    digest = await approved(at, "Tell", "c2", origins=(learned,))
    assert (await get_change(GetChange(change_id="c2"), at.at))["origins"] == [learned]
    (row,) = (await get_pipeline(GetPipeline(pipeline="triage"), at.at))["revisions"]
    assert (row["digest"], row["origins"]) == (digest, [learned])
    entry = await at.at.audit.find("change:c2:approved")
    assert entry is not None and entry.facts["origins"] == [learned]


async def test_who_names_no_origins_says_and_leaves_nothing_else_than_before() -> None:
    at = bench()
    assert "origins" not in proposal(pipeline()).model_dump(mode="json")
    digest = await approved(at, "Say", "c1")
    for collection, key in (("changes", "c1"), ("revisions", digest)):
        assert "origins" not in (await at.database.collection(collection).get(key) or {})
    entry = await at.at.audit.find("change:c1:approved")
    assert entry is not None and "origins" not in entry.facts


async def test_origins_are_bounded_and_are_digests() -> None:
    for wrong in (("abc",), tuple(f"{number:064x}" for number in range(MOST_ORIGINS + 1))):
        with pytest.raises(ValidationError, match="origins"):
            proposal(pipeline(), origins=wrong)


async def test_a_template_that_is_no_revision_of_the_named_pipeline_is_not_quarantined_under_its_name() -> None:
    at = bench()
    learned = await template(at)
    assert isinstance(await quarantine(at, learned, "triage"), QuarantineRefused)
