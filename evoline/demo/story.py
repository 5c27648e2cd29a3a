"""The demo's parts in order. Each is one command published onto the bus and the fact that ends it."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from evoline.client.api import Client, new_id
from evoline.demo.report import Data, Evolved, Learned, TemplateOutcome
from shared.errors import NotFoundError, UnavailableError
from shared.events import Fact
from shared.events.changes import ChangeApproved, ChangeQueued, ChangeVetoed, GateFinished, GetChange
from shared.events.datasets import MeasurePipelines, PipelinesMeasured, RegisterDataset
from shared.events.generation import GeneratePipeline, RequestFinished
from shared.events.improvement import GetReport, StartEvolution
from shared.events.runs import RunFinished
from shared.events.values import Case, Constraints, GraderSpec

REQUIREMENTS = "Say whether a tweet is positive, neutral or negative in sentiment."
DOMAIN = "sentiment"
DATASET = "sentiment_tweets3"
SOURCE = "vaderSentiment 3.3.2; C.J. Hutto and E. Gilbert, ICWSM 2014: tweets with mean human ratings"
LICENSE = "MIT"
SAMPLES = (
    "Finally got the job!!! Best Monday of my life",
    "The meeting moved to 3 pm, room 204.",
    "Two hours in this queue and then they close the counter. Great.",
)
SETTLE_POLLS, SETTLE_INTERVAL_SECONDS = 60, 0.5
Verdict = ChangeApproved | ChangeVetoed | ChangeQueued


@dataclass(frozen=True)
class Sizes:
    """How large the parts are; the defaults fit into four minutes on two cores."""

    heldout_cases: int = 40
    evaluations: int = 100
    generation_calls: int = 150
    generation_seconds: float = 150.0
    evolution_seconds: float = 120.0


@dataclass
class Story:
    """The parts of one demo and how long each took. `tell` prints a headline, `on_fact` shows progress."""

    client: Client
    sizes: Sizes
    tell: Callable[[str], None]
    on_fact: Callable[[Fact], None]
    parts: dict[str, float] = field(default_factory=dict)
    facts: list[Fact] = field(default_factory=list)

    @contextmanager
    def part(self, name: str, headline: str) -> Iterator[None]:
        self.tell(headline)
        started = time.monotonic()
        yield
        self.parts[name] = round(time.monotonic() - started, 3)

    def seen(self, fact: Fact) -> None:
        self.facts.append(fact)
        self.on_fact(fact)

    async def register(self, cases: list[Case], file: str) -> Data:
        with self.part("register", f"1. {len(cases)} labelled tweets go to the guardrail, which keeps the sealed ones to itself"):
            command = RegisterDataset(
                dataset_id=DATASET,
                domain=DOMAIN,
                cases=tuple(cases),
                grader=GraderSpec(kind="label"),
                source=SOURCE,
                license=LICENSE,
                author=self.client.author,
            )
            found = await self.client.register_dataset(command)
        return Data(
            file=file, dataset_id=DATASET, source=SOURCE, license=LICENSE, train=found.train, dev=found.dev, sealed=found.sealed
        )

    async def generate(self) -> tuple[GeneratePipeline, RequestFinished]:
        request = GeneratePipeline(
            request_id=new_id("demo"),
            requirements=REQUIREMENTS,
            domain=DOMAIN,
            name=f"tweet_mood_{datetime.now(UTC):%m%d_%H%M%S}",
            dataset_id=DATASET,
            constraints=Constraints(
                max_calls=4, generation_calls=self.sizes.generation_calls, generation_seconds=self.sizes.generation_seconds
            ),
            author="demo",
        )
        with self.part("generate", f"2. A request is published: {REQUIREMENTS!r}"):
            answer = await self.client.generate(request, on_fact=self.seen)
        return request, answer

    async def verdict(self, answer: RequestFinished) -> Verdict:
        for fact in self.facts:
            if isinstance(fact, Verdict) and fact.change_id == answer.change_id:
                return fact
        raise UnavailableError(f"no verdict was seen on change {answer.change_id!r}; look at: evoline show {answer.change_id}")

    async def document(self, verdict: Verdict) -> dict[str, Any]:
        record = await self.client.ask(GetChange(change_id=verdict.change_id))
        return dict(record["document"])

    async def samples(self, pipeline: str) -> list[RunFinished]:
        with self.part("run", "3. The deployed pipeline runs on three inputs of our own"):
            return [await self.client.run(pipeline, {"text": text}) for text in SAMPLES]

    async def measure(self, pipeline: str) -> PipelinesMeasured:
        cases = self.sizes.heldout_cases
        with self.part("measure", f"4. The guardrail measures it on {cases} sealed tweets, beside a plain one-step pipeline"):
            command = MeasurePipelines(
                measure_id=new_id("measure"),
                dataset_id=DATASET,
                pipelines={"one_step": one_step(), "pipeline": f"{pipeline}@stable"},
                cases=cases,
                author=self.client.author,
            )
            return await self.client.measure(command, on_fact=self.seen)

    async def learn(self) -> Learned:
        with self.part("learn", "5. The learner counts what went with good scores"):
            mined = await self.client.learn(DOMAIN, on_fact=self.seen)
            change_id = mined.template_change_id
            record = await self._settled(change_id) if change_id else None
        template = TemplateOutcome.model_validate(record) if record else None
        return Learned(mined=mined, template=template)

    async def _settled(self, change_id: str) -> dict[str, Any] | None:
        """The guardrail's record of a change once it is judged; None where that takes too long."""
        for _ in range(SETTLE_POLLS):
            try:
                record = await self.client.ask(GetChange(change_id=change_id))
            except NotFoundError:
                record = {}  # still on its way
            if record.get("status") in {"approved", "vetoed", "queued"}:
                return record
            await asyncio.sleep(SETTLE_INTERVAL_SECONDS)
        return None

    async def evolve(self, pipeline: str) -> Evolved:
        evaluations = self.sizes.evaluations
        with self.part("evolve", f"6. Evolution searches for something better within {evaluations} evaluations"):
            command = StartEvolution(
                evolution_id=new_id("evolution"),
                pipeline=pipeline,
                dataset_id=DATASET,
                evaluations=evaluations,
                seconds=self.sizes.evolution_seconds,
                author="demo",
            )
            finished = await self.client.evolve(command, on_fact=self.seen)
        gate = next((fact for fact in reversed(self.facts) if isinstance(fact, GateFinished)), None)
        return Evolved(finished=finished, gate=gate if gate and gate.change_id == finished.change_id else None)

    async def aggregates(self) -> dict[str, Any]:
        return await self.client.ask(GetReport(limit=10))


def one_step() -> dict[str, Any]:
    """What one would type first: the requirements, the tweet, a free answer (graded without regard to case and full stops)."""
    return {
        "name": "one_step",
        "description": "Plain one-step baseline.",
        "domain": DOMAIN,
        "steps": [{"name": "ask", "type": "claude", "prompt": f"{REQUIREMENTS}\n\n{{{{ text }}}}", "max_tokens": 32}],
        "outputs": {"answer": "{{ steps.ask.text }}"},
    }
