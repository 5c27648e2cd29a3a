"""The evolution service on a real broker and store, with a scripted guardrail and executor."""

from __future__ import annotations

import contextlib
import uuid
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from pydantic import SecretStr

from services.evolution.app import create_app
from services.evolution.settings import EvolutionSettings
from shared.attestation import public_pem
from shared.errors import NotFoundError
from shared.events import Message
from shared.events.changes import ChangeApproved, ChangeVetoed, GateFinished, GetChange, GrantScope, ListPromotions, ProposeChange
from shared.events.datasets import GetDataset
from shared.events.deployments import GetPipeline
from shared.events.improvement import EvolutionFinished, EvolutionProgressed, GetEvolution, StartEvolution
from shared.events.quotas import EstimateCost
from shared.events.runs import ExecuteRun, FinishedRuns, RunFinished
from shared.events.values import Score
from shared.identity import Signature
from shared.messaging.bus import Bus
from shared.messaging.consumer import Answer, Consumer
from shared.messaging.dead_letters import list_dead_letters
from shared.messaging.handling import Delivery
from shared.pipeline.loading import load_document
from shared.settings import SharedSettings
from tests.conftest import OpenBus
from tests.eventually import eventually
from tests.fakes.evolution_world import FUNCTIONS, LABELS, STEP_TYPES, ScriptedRuns, labelled_cases, seed_document
from tests.fakes.executor import Notary
from tests.messaging import consuming

pytestmark = pytest.mark.usefixtures("empty_streams")

SCORE = Score(mean=0.7, low=0.6, high=0.8, cases=100, grader_hash="h")
NOTARY = Notary()


@pytest.fixture(autouse=True)
def public_key(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "guardrail.pub").write_bytes(public_pem(NOTARY.key.public_key()))
    monkeypatch.setenv("EVOLINE_GUARDRAIL_PUBLIC_KEY_FILE", str(tmp_path / "guardrail.pub"))


@dataclass
class ScriptedGuardrail:
    """Certifies what its truth says is better, and vetoes everything else before any gate."""

    approves: bool = True
    proposals: list[ProposeChange] = field(default_factory=list)
    gates: dict[str, dict[str, Any]] = field(default_factory=dict)

    def register(self, consumer: Consumer) -> None:
        consumer.answers(GetPipeline, self.pipeline)
        consumer.answers(GetDataset, self.dataset)
        consumer.answers(EstimateCost, self.estimate)
        consumer.answers_signed(GrantScope, self.scope)
        consumer.answers(GetChange, self.change)
        consumer.answers(ListPromotions, self.promotions)
        consumer.on(ProposeChange, self.judge, durable="guardrail-propose")

    async def pipeline(self, query: GetPipeline) -> Answer:
        if query.pipeline != "tweets":
            raise NotFoundError(f"no pipeline {query.pipeline!r}")
        document = load_document(seed_document())
        stable = {"digest": document.digest, "status": "approved", "parent_digest": None, "author": "ada", "created_at": "2026"}
        fields = {"name": "tweets", "digest": document.digest, "stable": document.digest, "revisions": [stable]}
        return {**fields, "document": document.canonical()}

    async def dataset(self, query: GetDataset) -> Answer:
        cases = [case.model_dump(mode="json") for case in labelled_cases() if case.split in query.splits]
        return {"domain": "social", "grader": {"kind": "label", "options": {"labels": list(LABELS)}}, "cases": cases}

    async def estimate(self, query: EstimateCost) -> Answer:
        return {"total": {"runs": query.runs, "calls": query.runs, "tokens": 100 * query.runs, "cost_usd": 0.0}}

    async def scope(self, query: GrantScope, _: Signature) -> Answer:
        narrow = {"step_types": STEP_TYPES, "providers": ("claude",), "functions": FUNCTIONS}
        return NOTARY.granted(query, minutes=query.seconds / 60, **narrow)

    async def change(self, query: GetChange) -> Answer:
        return {"change_id": query.change_id, "gate": self.gates.get(query.change_id)}

    async def promotions(self, query: ListPromotions) -> Answer:
        return {"promotions": []}

    async def judge(self, change: ProposeChange, _: Delivery) -> Sequence[tuple[str, Message]]:
        self.proposals.append(change)
        digest = load_document(change.document).digest
        fields: dict[str, Any] = {"change_id": change.change_id, "kind": change.kind, "pipeline": change.pipeline, "digest": digest}
        fields |= {"author": change.author, "group_id": change.group_id}
        if not self.approves:
            return [("verdict", ChangeVetoed(**fields, vetoed_by="policy:no", reasons=("not today",)))]
        gate = _gate(change, digest)
        self.gates[change.change_id] = gate.model_dump(mode="json")
        return [("gate", gate), ("verdict", _approval(change, fields))]


def _gate(change: ProposeChange, digest: str) -> GateFinished:
    return GateFinished(
        change_id=change.change_id,
        pipeline=change.pipeline,
        candidate_digest=digest,
        incumbent_digest=change.parent_digest or "",
        verdict="certified",
        candidate=SCORE,
        incumbent=SCORE,
        p_value=0.01,
        alpha=0.05,
        gain=0.12,
        gain_low=0.03,
        gain_high=0.2,
        group_id=change.group_id,
    )


def _approval(change: ProposeChange, fields: dict[str, Any]) -> ChangeApproved:
    return ChangeApproved(
        **fields,
        document=change.document,
        domain="social",
        approved_by="policy:certified",
        risk=0.1,
        reasons=("certified",),
        policy_revision="1",
        attestation=NOTARY.attest("revision", fields["digest"], change.pipeline),
    )


@dataclass
class ScriptedExecutor:
    """Answers from the planted quality of `ScriptedRuns`; finished runs can be asked for."""

    world: ScriptedRuns = field(default_factory=lambda: ScriptedRuns({case.id: case for case in labelled_cases()}))

    @property
    def evaluated(self) -> list[str]:
        """Run ids of evaluations in order of start; rewrites are no evaluations."""
        return [run_id for run_id in self.world.started if self.world.ended[run_id].purpose == "evaluation"]

    def register(self, consumer: Consumer) -> None:
        consumer.on(ExecuteRun, self.execute, durable="executor-execute", concurrency=4)
        consumer.answers(FinishedRuns, self.finished)

    async def execute(self, command: ExecuteRun, _: Delivery) -> Sequence[tuple[str, Message]]:
        ended = await self.world.run_all([command], max_in_flight=1, deadline_seconds=5)
        return [("finished", ended[command.run_id])]

    async def finished(self, query: FinishedRuns) -> Answer:
        ended = self.world.ended
        return {"runs": [ended[run_id].model_dump(mode="json") for run_id in query.run_ids if run_id in ended]}


def order(**changes: Any) -> StartEvolution:
    """A dataset id of its own: nothing comes from the cache of another test."""
    unique = uuid.uuid4().hex[:12]
    fields: dict[str, Any] = {
        "evolution_id": f"evo-{unique}",
        "pipeline": "tweets",
        "dataset_id": f"tweets-{unique}",
        "evaluations": 120,
    }
    fields["seed"] = 1  # a number with which so few evaluations find something
    return StartEvolution.model_validate({**fields, **changes})


@dataclass
class Stage:
    bus: Bus
    guardrail: ScriptedGuardrail
    executor: ScriptedExecutor

    async def evolve(self, **changes: Any) -> tuple[EvolutionFinished, list[EvolutionProgressed]]:
        """Publishes the command and waits for its end."""
        command = order(**changes)
        progress: list[EvolutionProgressed] = []
        async with self.bus.follow(EvolutionProgressed, EvolutionFinished) as facts:
            await self.bus.publish(command, cause=command.evolution_id)
            async for fact, _ in facts:
                if isinstance(fact, EvolutionProgressed):
                    progress.append(fact)
                elif isinstance(fact, EvolutionFinished) and fact.evolution_id == command.evolution_id:
                    return fact, progress
        raise AssertionError("the evolution never ended")


@contextlib.asynccontextmanager
async def stage(
    open_bus: OpenBus, nats_url: str, mongo_url: str, guardrail: ScriptedGuardrail, executor: ScriptedExecutor | None = None
) -> AsyncIterator[Stage]:
    executor = executor or ScriptedExecutor()
    settings = SharedSettings(nats_url=nats_url, mongo_url=SecretStr(mongo_url), log_level="error")
    app = create_app(settings, EvolutionSettings(run_seconds=20))
    async with contextlib.AsyncExitStack() as stack:
        await stack.enter_async_context(consuming(await open_bus("guardrail"), nats_url, guardrail.register))
        await stack.enter_async_context(consuming(await open_bus("executor"), nats_url, executor.register))
        await app.start()
        stack.push_async_callback(app.stop)
        yield Stage(await open_bus("test"), guardrail, executor)


async def test_a_command_becomes_a_certified_promotion(open_bus: OpenBus, nats_url: str, mongo_url: str) -> None:
    async with stage(open_bus, nats_url, mongo_url, ScriptedGuardrail()) as on:
        answer, progress = await on.evolve()
        assert (answer.verdict, answer.deployed, answer.gain) == ("certified", True, 0.12)
        (proposal,) = on.guardrail.proposals
        assert load_document(proposal.document).digest == answer.best_digest != answer.seed_digest
        assert answer.evaluations == len(on.executor.evaluated) == len(set(on.executor.evaluated)) <= 120
        assert {"scope", "seed", "finalists", "gate"} <= {fact.stage for fact in progress}
        record = await on.bus.ask(GetEvolution(evolution_id=answer.evolution_id))
        assert record["status"] == "finished"
        assert len(record["candidates"]) == answer.candidates


async def test_a_veto_ends_the_evolution_with_its_reasons(open_bus: OpenBus, nats_url: str, mongo_url: str) -> None:
    async with stage(open_bus, nats_url, mongo_url, ScriptedGuardrail(approves=False)) as on:
        answer, _ = await on.evolve()
        assert (answer.verdict, answer.deployed) == ("vetoed", False)
        assert "not today" in answer.reasons


async def test_an_unknown_pipeline_is_refused_over_the_bus(open_bus: OpenBus, nats_url: str, mongo_url: str) -> None:
    async with stage(open_bus, nats_url, mongo_url, ScriptedGuardrail()) as on:
        answer, _ = await on.evolve(pipeline="nowhere")
        assert answer.verdict == "refused"
        assert "nowhere" in str(answer.problems[0])
        with pytest.raises(NotFoundError):
            await on.bus.ask(GetEvolution(evolution_id="never-started"))


async def test_a_service_that_dies_in_the_middle_leaves_an_evolution_that_another_one_ends(
    open_bus: OpenBus, nats_url: str, mongo_url: str
) -> None:
    settings = SharedSettings(nats_url=nats_url, mongo_url=SecretStr(mongo_url), log_level="error")
    guardrail, executor = ScriptedGuardrail(), ScriptedExecutor()
    async with contextlib.AsyncExitStack() as stack:
        await stack.enter_async_context(consuming(await open_bus("guardrail"), nats_url, guardrail.register))
        await stack.enter_async_context(consuming(await open_bus("executor"), nats_url, executor.register))
        bus = await open_bus("test")
        first = create_app(settings, EvolutionSettings(run_seconds=20))
        await first.start()
        command = order()
        async with bus.follow(EvolutionFinished, RunFinished) as facts:
            await bus.publish(command, cause=command.evolution_id)
            async for fact, _ in facts:
                if isinstance(fact, RunFinished) and len(executor.world.started) >= 30:
                    break
            assert first.host is not None
            await first.stop()
            second = create_app(settings, EvolutionSettings(run_seconds=20))
            await second.start()
            stack.push_async_callback(second.stop)
            async for fact, _ in facts:
                if isinstance(fact, EvolutionFinished):
                    break
        assert isinstance(fact, EvolutionFinished)
        assert fact.verdict in ("certified", "no_candidate")
        assert len(executor.evaluated) == len(set(executor.evaluated)) == fact.evaluations <= 120


@dataclass
class LyingGuardrail(ScriptedGuardrail):
    """Says yes to everything, without the key."""

    stranger: Notary = field(default_factory=Notary)

    async def judge(self, change: ProposeChange, delivery: Delivery) -> Sequence[tuple[str, Message]]:
        effects = await super().judge(change, delivery)
        forged = self.stranger.attest("revision", load_document(change.document).digest, change.pipeline)
        return [
            (effect, fact.model_copy(update={"attestation": forged}) if isinstance(fact, ChangeApproved) else fact)
            for effect, fact in effects
        ]


async def test_an_approval_without_the_guardrails_key_ends_no_evolution(open_bus: OpenBus, nats_url: str, mongo_url: str) -> None:
    async with stage(open_bus, nats_url, mongo_url, LyingGuardrail()) as on:
        command = order()
        async with on.bus.follow(EvolutionFinished) as facts:
            await on.bus.publish(command, cause=command.evolution_id)
            (letter,) = await eventually(lambda: list_dead_letters(on.bus), 30)
            assert (letter.subject, letter.code) == ("evt.change.approved", "not_attested")
            record = await on.bus.ask(GetEvolution(evolution_id=command.evolution_id))
            assert record["status"] == "proposed" and "answer" not in record
            await on.bus.publish(order(pipeline="unknown"), cause="a later one")
            fact, _ = await anext(facts)
            assert isinstance(fact, EvolutionFinished) and fact.evolution_id != command.evolution_id
