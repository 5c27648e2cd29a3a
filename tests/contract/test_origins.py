"""What a revision was made from, and what searches are lent, on the fake and on the real database."""

from __future__ import annotations

import pytest

from services.evolution.adapters.templates import MongoTemplates
from services.guardrail.adapters.mongo import MongoRevisions
from services.guardrail.domain.records import RevisionRecord
from shared.events.values import Attestation
from shared.storage import Database

SIGNED = Attestation(
    kind="revision", digest="0" * 64, scope="triage", domain="x", policy_revision="1", issued_at="", expires_at="", key_id="k"
)


@pytest.fixture
async def revisions(database: Database) -> MongoRevisions:
    made = MongoRevisions(database)
    await made.ensure_indexes()
    return made


def revision(name: str, parent: str | None = None, *origins: str) -> RevisionRecord:
    return RevisionRecord(
        digest=name,
        pipeline="triage",
        domain="x",
        document={},
        attestation=SIGNED,
        parent_digest=parent,
        origins=origins,
        change_id=f"c-{name}",
        author="ada",
        approved_by="policy:x",
        created_at="",
    )


async def test_children_are_found_by_their_parent_and_by_each_origin_and_come_once(revisions: MongoRevisions) -> None:
    made = [revision("a"), revision("b", "a"), revision("c", "b", "t", "u"), revision("d", None, "t"), revision("e", "t", "t")]
    for each in made:
        assert await revisions.add(each) == each
    for digests, wanted in ((["a"], "b"), (["t"], "cde"), (["u"], "c"), (["b", "u", "t"], "cde"), (["e", "x"], "")):
        assert sorted(each.digest for each in await revisions.children(digests)) == list(wanted), digests


async def test_what_was_stored_before_origins_were_known_is_read_as_without(revisions: MongoRevisions, database: Database) -> None:
    await database.collection("revisions").insert_once({"_id": "old", **revision("old", "a").model_dump(mode="json")})
    found = await revisions.get("old")
    assert found is not None and (found.origins, found.ancestry) == ((), ("a",))
    assert [each.digest for each in await revisions.children(["a"])] == ["old"]


async def test_templates_are_found_by_their_domain_as_they_were_told_last(database: Database) -> None:
    templates = MongoTemplates(database)
    await templates.prepare()
    for digest, domain, score in (("b", "mails", 0.5), ("a", "mails", 0.1), ("c", "tweets", 0.9), ("b", "mails", 0.6)):
        await templates.learn(digest, {"domain": domain, "document": {"steps": [{"name": digest}]}, "score": score})
    found = await templates.of_domain("mails")
    assert [(each["digest"], each["score"], each["document"]["steps"][0]["name"]) for each in found] == [
        ("a", 0.1, "a"),
        ("b", 0.6, "b"),
    ]
    assert await templates.of_domain("songs") == []
