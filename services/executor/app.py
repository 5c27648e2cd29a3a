"""The executor's composition root."""

from __future__ import annotations

import asyncio
import os
import socket
import uuid
from collections.abc import Mapping
from typing import get_args

from services.executor.adapters.computing.processes import Bounds, ProcessComputations
from services.executor.adapters.guardrail_store import MongoClosedScopes, MongoQuotaRules, MongoRevisions
from services.executor.adapters.leased_runs import MongoLeasedRuns
from services.executor.adapters.limits_file import read_limits
from services.executor.adapters.metrics import MeteredModel
from services.executor.adapters.model_records import AnalyticsModelRecords
from services.executor.adapters.mongo_pools import MongoPools
from services.executor.adapters.mongo_runs import MongoJournal, MongoRunStore
from services.executor.adapters.mongo_values import MongoAnswerCache, MongoConversations, MongoScopeLedger, MongoStops
from services.executor.adapters.nats import BusAnnouncer, BusProposals, BusQuestions, BusShadows, BusTimers, FleetChildren
from services.executor.adapters.standing import MongoStanding
from services.executor.engine import StepServices
from services.executor.engine.batches import ProviderBatches
from services.executor.engine.children import ChildRuns, IsHeld, IsOver, Outside, RunLocally
from services.executor.engine.completions import Completions
from services.executor.engine.functions import FunctionDesk
from services.executor.engine.generated import TrialScopes
from services.executor.engine.permits import Permits
from services.executor.engine.permits.lane import LaneParts
from services.executor.engine.run_state import AnswerDefaults
from services.executor.engine.services import Breakers
from services.executor.settings import ExecutorSettings
from services.executor.subscribers import Subscribers
from services.executor.use_cases import (
    Admission,
    DocumentLibrary,
    Executor,
    GuardedStops,
    PollingCancelWatch,
    ProductionQuotas,
    ScopeSealing,
    run_child,
)
from shared.attestation import Grants, KeyFile
from shared.background import WentWell
from shared.events.runs import ExecuteRun, RunFinished
from shared.large_values import LargeValues
from shared.llm import ModelOnDemand, build_models, providers_of, recorded_answer_tokens, sent_to
from shared.llm.cassette import is_replay
from shared.messaging.blobs import ObjectStoreBlobs
from shared.messaging.states import BucketStates
from shared.pipeline.completion import Family, LanguageModel
from shared.pipeline.steps import step_type
from shared.service import VERSION, Application, Host, keep_loaded_objects
from shared.settings import ProviderSettings, SharedSettings

Models = Mapping[Family, LanguageModel]


def create_app(
    settings: SharedSettings | None = None, own: ExecutorSettings | None = None, models: Models | None = None
) -> Application:
    """`models` stand in for the configured providers in tests and benchmarks."""
    shared_settings, own_settings = settings or SharedSettings(), own or ExecutorSettings()

    async def register(host: Host) -> None:
        runs = MongoRunStore(host.database)

        async def run_locally(command: ExecuteRun, outer_is_over: IsOver, is_held: IsHeld) -> RunFinished:
            return await run_child(command, outer_is_over, is_held, executor)

        permits = await _permits(host, own_settings, ProviderSettings())
        services = _step_services(host, own_settings, models, permits, runs, run_locally)
        executor = _executor(host, own_settings, runs, services)
        subscribers = Subscribers(executor, own_settings.concurrency, own_settings.ack_wait_seconds)
        subscribers.register(host.consumer)

    return Application("executor", shared_settings, register)


def _step_services(
    host: Host, own: ExecutorSettings, models: Models | None, permits: Permits, runs: MongoRunStore, run_locally: RunLocally
) -> StepServices:
    providers = ProviderSettings()
    if models is None:
        models = built = build_models(providers, own.answer_tokens)
        _load_in_background(host, built)
    served_by = providers_of(providers)
    metered = {family: MeteredModel(family, model, host.metrics.providers, host.clock) for family, model in models.items()}
    answers, ledger = MongoAnswerCache(host.database, host.clock), MongoScopeLedger(host.database, host.clock)
    completions = Completions(metered, answers, ledger, host.clock, permits)
    return StepServices(
        clock=host.clock,
        step_type=step_type,
        completions=completions,
        batches=ProviderBatches(metered, completions, host.clock),
        functions=FunctionDesk(BusQuestions(host.bus), _computations(host, own)),
        children=_child_runs(host, own, runs, run_locally),
        conversations=MongoConversations(host.database, host.clock),
        proposals=BusProposals(host.bus),
        model_records=AnalyticsModelRecords(BusQuestions(host.bus), host.clock, served_by),
        breakers=Breakers(host.clock),
        observer=host.metrics.runs,
        workspace_dir=own.workspace_dir,
        replays=is_replay(providers.cassette),
        answers=AnswerDefaults(own.preset, own.answer_tokens or recorded_answer_tokens(providers), own.answer_seconds),
        park_after_seconds=own.park_after_seconds,
        providers=served_by,
    )


async def _permits(host: Host, own: ExecutorSettings, providers: ProviderSettings) -> Permits:
    """Raises `ConfigurationError` where the limits or the bucket in which executors share them cannot be read."""
    states = BucketStates(host.bus)
    await states.open()
    parts = LaneParts(states, host.clock, host.metrics.providers, f"{_name(own)}-{uuid.uuid4().hex[:8]}")
    permits = Permits(
        read_limits(own.limits_file),
        lambda request: sent_to(providers, request),
        get_args(Family),
        parts,
        concurrency=providers.provider_concurrency,
    )
    host.on_stop(permits.close)
    return permits


def _name(own: ExecutorSettings) -> str:
    return own.id or f"{socket.gethostname()}-{os.getpid()}"


def _child_runs(host: Host, own: ExecutorSettings, runs: MongoRunStore, run_locally: RunLocally) -> ChildRuns:
    keys = KeyFile(host.settings.guardrail_public_key_file)
    scopes = TrialScopes(BusQuestions(host.bus), Grants(keys.verifier, host.clock), host.clock)
    outside = Outside(FleetChildren(host.bus), LargeValues(ObjectStoreBlobs(host.bus)), scopes)
    return ChildRuns(runs, outside, run_locally, host.clock, slots=own.concurrency)


def _computations(host: Host, own: ExecutorSettings) -> ProcessComputations:
    computations = ProcessComputations(Bounds(processes=own.compute_processes, wall_seconds=own.compute_wall_seconds))
    host.on_stop(computations.close)
    return computations


def _load_in_background(host: Host, built: Mapping[Family, ModelOnDemand]) -> None:
    """Beside the first work, so that the first call does not wait for an SDK. What fails here is told to the call that needs it.
    What was loaded is closed with the process."""
    loading = asyncio.gather(*(model.model() for model in built.values()), return_exceptions=True)
    loading.add_done_callback(lambda _: keep_loaded_objects())

    async def close() -> None:
        loading.cancel()
        for model in built.values():
            await model.close()

    host.on_stop(close)


def _quotas(host: Host, own: ExecutorSettings) -> ProductionQuotas:
    rules, runs = MongoQuotaRules(host.mongo.database("evoline_guardrail")), MongoLeasedRuns(host.database)
    quotas = ProductionQuotas(rules, BusQuestions(host.bus), runs, host.clock, f"executor:{_name(own)}"[:128])

    async def tell(went_well: WentWell) -> None:
        while True:
            await quotas.tell()
            went_well()
            await host.clock.sleep(own.quota_tell_seconds)

    async def tell_the_rest() -> None:
        await quotas.tell(at_stop=True)

    host.run_in_background("tell what production runs used", tell)
    host.on_stop(tell_the_rest)
    return quotas


def _executor(host: Host, own: ExecutorSettings, runs: MongoRunStore, services: StepServices) -> Executor:
    """Raises `ConfigurationError` where the guardrail's public keys cannot be read."""
    keys = KeyFile(host.settings.guardrail_public_key_file)
    keys.verifier()
    guardrail = host.mongo.database("evoline_guardrail")
    revisions, standing = MongoRevisions(guardrail), MongoStanding(guardrail)
    ledger = MongoScopeLedger(host.database, host.clock)
    stops = MongoStops(host.database, host.clock)
    blobs = ObjectStoreBlobs(host.bus)
    return Executor(
        executor_id=_name(own),
        runs=runs,
        journal=MongoJournal(host.database, host.clock, blobs),
        admission=Admission(keys.verifier, revisions, standing, ledger, DocumentLibrary(), host.clock),
        sealing=ScopeSealing(MongoClosedScopes(guardrail), ledger),
        quotas=_quotas(host, own),
        services=services,
        watch=PollingCancelWatch(
            GuardedStops(stops, standing), host.clock, own.cancel_poll_seconds, pause_grace_seconds=own.pause_grace_seconds
        ),
        stops=stops,
        timers=BusTimers(host.bus),
        values=LargeValues(blobs),
        pools=MongoPools(host.database, host.clock),
        announcer=BusAnnouncer(host.bus),
        shadows=BusShadows(host.bus),
        observer=host.metrics.runs,
        clock=host.clock,
        max_takeovers=own.max_takeovers,
        version=VERSION,
    )
