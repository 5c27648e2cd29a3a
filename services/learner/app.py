"""The learner's composition root."""

from __future__ import annotations

from services.learner import subscribers
from services.learner.adapters.gains import MongoGains
from services.learner.adapters.metrics import PrometheusGains
from services.learner.adapters.mongo import MongoKnowledgeStore
from services.learner.adapters.seeds import FileSeedTemplates
from services.learner.use_cases import Gains, Learner, forget_outcomes, forget_runs, tell_standing
from shared.attestation import Approvals, KeyFile
from shared.background import WentWell
from shared.service import Application, Host
from shared.settings import SharedSettings

FORGET_SECONDS = 3600.0


def create_app(settings: SharedSettings | None = None) -> Application:
    shared_settings = settings or SharedSettings()

    async def register(host: Host) -> None:
        database = host.mongo.database("evoline_learner")
        store = MongoKnowledgeStore(database)
        seeds = FileSeedTemplates(shared_settings.pipelines_dir / "library")
        approvals = Approvals(KeyFile(shared_settings.guardrail_public_key_file).verifier, host.clock)
        gains = MongoGains(database)
        await store.prepare()
        await gains.prepare()
        at = Gains(gains, PrometheusGains(host.metrics.gains), host.clock)
        await tell_standing(at)

        learner = Learner(store, seeds, host.clock)

        async def forget(went_well: WentWell) -> None:
            while True:
                await forget_outcomes(at)
                await forget_runs(learner)
                went_well()
                await host.clock.sleep(FORGET_SECONDS)

        host.run_in_background("forget what is old", forget)
        subscribers.register(host.consumer, learner, at, approvals)

    return Application("learner", shared_settings, register)
