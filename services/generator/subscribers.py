"""Subject -> use case -> effects."""

from __future__ import annotations

from services.generator.use_cases import Effects, Generator, forget_templates, generate_pipeline, learn_template, record_verdict
from shared.attestation import Approvals
from shared.errors import NotFoundError
from shared.events.changes import ChangeApproved, ChangeQueued, ChangeVetoed
from shared.events.deployments import PipelineRolledBack
from shared.events.generation import GeneratePipeline, GetRequest, ListRequests
from shared.events.improvement import TemplateLearned
from shared.events.recovery import RevisionQuarantined
from shared.messaging.consumer import Consumer, Delivery


def register(consumer: Consumer, at: Generator, approvals: Approvals, *, concurrency: int) -> None:
    async def on_generate_pipeline(request: GeneratePipeline, _: Delivery) -> Effects:
        return await generate_pipeline(request, at)

    async def on_verdict(verdict: ChangeApproved | ChangeQueued | ChangeVetoed, _: Delivery) -> Effects:
        if isinstance(verdict, ChangeApproved):
            approvals.check_change(verdict)
        return await record_verdict(verdict, at)

    async def on_template_learned(fact: TemplateLearned, _: Delivery) -> Effects:
        approvals.check_template(fact)
        return await learn_template(fact, at)

    async def on_taken_out(fact: PipelineRolledBack | RevisionQuarantined, _: Delivery) -> Effects:
        return await forget_templates(fact.quarantined, at)

    async def get_request(query: GetRequest) -> dict[str, object]:
        record = await at.requests.get(query.request_id)
        if record is None:
            raise NotFoundError(f"no request {query.request_id!r}")
        return {"request_id": record["_id"], **{key: value for key, value in record.items() if key != "_id"}}

    async def list_requests(query: ListRequests) -> dict[str, object]:
        return {"requests": await at.requests.latest(query.limit)}

    consumer.on(
        GeneratePipeline,
        on_generate_pipeline,
        durable="generator-generate",
        concurrency=concurrency,
        deadline_seconds=3700,
        max_attempts=5,
    )
    consumer.on(ChangeApproved, on_verdict, durable="generator-change-approved")
    consumer.on(ChangeQueued, on_verdict, durable="generator-change-queued")
    consumer.on(ChangeVetoed, on_verdict, durable="generator-change-vetoed")
    consumer.on(TemplateLearned, on_template_learned, durable="generator-template-learned")
    consumer.on(PipelineRolledBack, on_taken_out, durable="generator-pipeline-rolled-back")
    consumer.on(RevisionQuarantined, on_taken_out, durable="generator-revision-quarantined")
    consumer.answers(GetRequest, get_request)
    consumer.answers(ListRequests, list_requests)
