"""Subject -> use case -> effects."""

from __future__ import annotations

from services.analytics.use_cases import Analytics, Effects, count_run, model_records, note_measurement, note_score, report
from shared.events.datasets import PipelinesMeasured
from shared.events.improvement import GetModelRecords, GetReport, PipelineScored
from shared.events.runs import RunFinished
from shared.messaging.consumer import Consumer, Delivery


def register(consumer: Consumer, at: Analytics) -> None:
    async def on_run_finished(fact: RunFinished, _: Delivery) -> Effects:
        return await count_run(fact, at)

    async def on_pipeline_scored(fact: PipelineScored, _: Delivery) -> Effects:
        return await note_score(fact, at)

    async def on_pipelines_measured(fact: PipelinesMeasured, _: Delivery) -> Effects:
        return await note_measurement(fact, at)

    async def get_report(query: GetReport) -> dict[str, object]:
        return await report(query, at)

    async def get_model_records(query: GetModelRecords) -> dict[str, object]:
        return await model_records(query, at)

    consumer.on(RunFinished, on_run_finished, durable="analytics-run-finished")
    consumer.on(PipelineScored, on_pipeline_scored, durable="analytics-pipeline-scored")
    consumer.on(PipelinesMeasured, on_pipelines_measured, durable="analytics-pipelines-measured")
    consumer.answers(GetReport, get_report)
    consumer.answers(GetModelRecords, get_model_records)
