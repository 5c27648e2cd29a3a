"""What people find out about decisions: a real guardrail, a real store, the command as a process."""

from __future__ import annotations

import json
import uuid
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from pydantic import SecretStr

from evoline.client.audit import AuditReader, Verification, checked_proof, kept_in_file, verified
from evoline.client.audit_story import Story, story_of
from services.guardrail.app import create_app
from services.guardrail.settings import GuardrailSettings
from shared.attestation import KeyPaths, Verifier, create_key_pair
from shared.errors import NotFoundError, OutOfScopeError
from shared.events.audit import FindAuditEntries
from shared.events.changes import DecideReview, GetChange, GrantScope
from shared.events.deployments import GetPipeline, RollbackPipeline
from shared.events.message import Command as Order
from shared.events.recovery import FreezeSystem
from shared.events.values import Budget
from shared.messaging.bus import Bus
from shared.service import Application
from shared.settings import SharedSettings
from shared.storage import MongoStore
from tests.conftest import OpenBus
from tests.eventually import eventually
from tests.fakes.guardrail import pipeline, proposal
from tests.fakes.people import own, signer, written_registry
from tests.fakes.tampering import hashed
from tests.integration.commands import Command

pytestmark = pytest.mark.usefixtures("empty_streams")
PIPELINES = Path(__file__).parents[2] / "pipelines"


CHECKPOINT = {"size": 1, "root": "", "at": "", "key_id": "", "note": "x"}


class Office:
    """A guardrail that decided this and that, and everything that one checks it with."""

    def __init__(self, bus: Bus, keys: KeyPaths, settings: SharedSettings, store: MongoStore) -> None:
        self.bus, self.keys, self.settings, self.store = bus, keys, settings, store
        self.verifier = Verifier.from_file(keys.public)
        self.reader = AuditReader(bus, self.verifier.keys)
        self.own = GuardrailSettings(private_key_file=keys.private, checkpoint_interval_seconds=3600)
        self.app: Application | None = None

    async def start(self) -> None:
        self.app = create_app(self.settings, self.own)
        await self.app.start()

    async def stop(self) -> None:
        if self.app:
            await self.app.stop()
        self.app = None

    async def send(self, order: Order) -> None:
        await own(self.bus, order).publish(order, cause=uuid.uuid4().hex)

    async def actions(self, **query: Any) -> list[str]:
        found = (await self.bus.ask(FindAuditEntries(**query)))["entries"]
        return [each["action"] for each in found]

    async def verify(self) -> Verification:
        return await verified(self.reader, [kept_in_file(self.own.checkpoints, self.verifier.keys)], lambda _: None)

    async def why(self, name: str) -> Story:
        kept = kept_in_file(self.own.checkpoints, self.verifier.keys)
        return await story_of(name, self.reader, self.verifier, [kept, await self.reader.told()])

    async def decided(self) -> None:
        """c1 by policy, change-2 by alice after the generator was refused, c3 by policy and taken back."""
        await self.send(proposal(pipeline(), "c1"))
        await self.deployed("c1")
        await self.send(proposal(pipeline(limits={"calls": 500}), "change-2"))
        await eventually(lambda: self.actions(about="change-2", action="change.queued"), 60)
        digest = (await self.bus.ask(GetChange(change_id="change-2")))["digest"]
        await self.send(DecideReview(change_id="change-2", decision="approve", reviewer="generator", digest=digest))
        await eventually(lambda: self.actions(about="change-2", action="command.refused"), 60)
        await self.send(
            DecideReview(change_id="change-2", decision="approve", reviewer="alice", digest=digest, comment="calls are cheap here")
        )
        await self.deployed("change-2")
        await self.send(proposal(pipeline(limits={"calls": 400}), "c3"))
        await self.deployed("c3")
        await self.send(RollbackPipeline(rollback_id="r1", pipeline="triage", reason="wrong on Mondays", author="bob"))
        await eventually(lambda: self.actions(about="r1"), 60)

    async def deployed(self, change_id: str) -> None:
        await eventually(lambda: self.actions(about=change_id, action="pipeline.deployed"), 60)


@pytest.fixture
async def office(open_bus: OpenBus, nats_url: str, mongo_url: str, tmp_path: Path, store: MongoStore) -> AsyncIterator[Office]:
    keys = create_key_pair(tmp_path / "home" / "keys")
    settings = SharedSettings(
        nats_url=nats_url,
        mongo_url=SecretStr(mongo_url),
        pipelines_dir=PIPELINES,
        guardrail_public_key_file=keys.public,
        identities_file=written_registry(tmp_path / "home" / "keys"),
    )
    made = Office(await open_bus("test"), keys, settings, store)
    await made.start()
    await made.decided()
    yield made
    await made.stop()


def said(story: Story, about: str) -> list[str]:
    return [line.text for line in story.lines if line.about == about]


async def test_the_log_is_verified_and_explained_and_what_bypassed_it_is_told(
    office: Office, command: Command, tmp_path: Path
) -> None:
    found = await office.verify()
    assert found.faults == ()
    assert found.covered is not None and found.covered.size == found.entries and min(found.kept.values()) >= 1
    with pytest.raises(OutOfScopeError):
        await office.bus.signed_by(signer("learner")).ask(
            GrantScope(scope_id="s1", purpose="meta", holder="learner", domain="support", functions=("rm",), budget=Budget(runs=1))
        )
    assert await office.actions(about="s1") == ["scope.refused"]

    generation = (await office.bus.ask(GetPipeline(pipeline="triage")))["generation"]
    await office.send(FreezeSystem(freeze_id="f1", reason="a drill", author="bob"))
    await eventually(lambda: office.actions(action="system.frozen"), 60)
    assert (await office.bus.ask(GetPipeline(pipeline="triage")))["generation"] > generation

    story = await office.why("triage")
    assert [line.text for line in story.lines if not line.verified] == []
    assert "rolled_back triage" in said(story, "deployed")[0] and "wrong on Mondays" in said(story, "deployed")[0]
    assert said(story, "change")[0].startswith("change-2, revision by generator, risk 0.40")
    assert said(story, "person") == ["alice: approve, calls are cheap here"]
    assert len(said(story, "history")) == 4 and said(story, "attestation")[0].startswith("signed for this digest")
    assert all(line.entry for line in story.lines if line.about in {"deployed", "change", "approved", "rule", "person", "diff"})
    assert [line.about for line in (await office.why("change-2")).lines] == [
        "change.queued",
        "command.refused",
        "review.approve",
        "change.approved",
        "pipeline.deployed",
        "checkpoint",
        "checkpoint",
        "checkpoint",
    ]
    for unknown in ("nothing_here", "nothing-here"):
        with pytest.raises(NotFoundError, match=unknown):
            await office.why(unknown)

    options = ("--keys", str(office.keys.public))
    kept = ("--checkpoints", str(office.own.checkpoints))
    code, answer, errors = await command("audit", "why", "triage", *options, *kept, "--json")
    assert (code, answer["verified"]) == (0, True), errors
    file = tmp_path / "proof.json"
    code, _, errors = await command("audit", "prove", "change:change-2:approved", "--out", str(file), *options)
    assert code == 0, errors
    assert checked_proof(json.loads(file.read_text()), office.reader.keys)[0]["actor"] == "review:alice"

    serving = await office.bus.ask(GetPipeline(pipeline="triage"))
    other = next(each["digest"] for each in serving["revisions"] if each["digest"] != serving["stable"])
    deployments = office.store.database("evoline_guardrail").collection("deployments")
    await deployments.update_if({"_id": "triage"}, {"$set": {"stable": other, "generation": 9}})
    story = await office.why("triage")
    assert [line.about for line in story.lines if not line.verified] == ["deployed"]
    assert "not the guardrail that put it there" in said(story, "deployed")[0]

    await office.bus.store("evt.audit.checkpointed", b"nonsense", {})
    await office.bus.store("evt.audit.checkpointed", json.dumps(CHECKPOINT).encode(), {})
    kept_on_bus = await office.reader.told()
    assert ["are no checkpoints" in fault or "is no checkpoint" in fault for fault in kept_on_bus.faults] == [True, True]
    assert kept_on_bus.checkpoints


async def test_a_rewritten_log_is_named_stops_decisions_and_serves_on(office: Office, command: Command) -> None:
    await office.stop()
    written = kept_in_file(office.own.checkpoints, office.verifier.keys).checkpoints
    collection = office.store.database("evoline_guardrail").collection("audit")
    before = await collection.find({}, sort=[("_id", 1)])
    assert written[-1].head.size == len(before), "the stop leaves nothing uncovered"
    place = next(number for number, each in enumerate(before) if each["key"] == "change:change-2:approved")
    forged = [dict(each) for each in before]
    forged[place]["facts"] = {**forged[place]["facts"], "people": ["mallory: approve"]}
    for each in hashed(forged):
        await collection.put(each)
    await office.start()
    await office.send(proposal(pipeline(name="other"), "c9"))
    found = await office.verify()
    assert any("are not those that the checkpoint" in fault for fault in found.faults)
    code, answer, _ = await command(
        "audit", "verify", "--keys", str(office.keys.public), "--checkpoints", str(office.own.checkpoints), "--json"
    )
    assert (code, answer["sound"]) == (1, False)
    assert len(await office.bus.ask(GetPipeline(pipeline="triage"))) > 0
    doubtful = {line.about for line in (await office.why("triage")).lines if not line.verified}
    assert {"log", "person", "approved"} <= doubtful
    with pytest.raises(NotFoundError):
        await office.bus.ask(GetChange(change_id="c9"))
    await office.stop()
    for each in before:
        await collection.put(each)
    await office.start()
    await office.deployed("c9")
    assert (await office.verify()).faults == ()
