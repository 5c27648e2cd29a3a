"""Evolution's composition root."""

from __future__ import annotations

from services.evolution import subscribers
from services.evolution.adapters.descent import MongoDescent
from services.evolution.adapters.experiments import MongoExperiments
from services.evolution.adapters.mongo import MongoEvaluationCache, MongoEvolutions
from services.evolution.adapters.nats import BusAnnouncer, BusCustodian, BusPromotions
from services.evolution.adapters.templates import MongoTemplates
from services.evolution.settings import EvolutionSettings
from services.evolution.use_cases import Evolution
from services.evolution.use_cases.experiments import Laboratory
from shared.attestation import Approvals, Grants, KeyFile
from shared.messaging.fleet import Fleet
from shared.service import Application, Host
from shared.settings import SharedSettings


def create_app(settings: SharedSettings | None = None, own: EvolutionSettings | None = None) -> Application:
    shared_settings = settings or SharedSettings()
    own_settings = own or EvolutionSettings()

    async def register(host: Host) -> None:
        evolutions = MongoEvolutions(host.database)
        await evolutions.prepare()
        experiments = MongoExperiments(host.database)
        await experiments.prepare()
        descent = MongoDescent(host.database)
        await descent.prepare()
        templates = MongoTemplates(host.database)
        await templates.prepare()
        keys = KeyFile(shared_settings.guardrail_public_key_file)
        at = Evolution(
            evolutions=evolutions,
            cache=MongoEvaluationCache(host.database),
            templates=templates,
            custodian=BusCustodian(host.bus, Grants(keys.verifier, host.clock)),
            runs=Fleet(host.bus),
            announcer=BusAnnouncer(host.bus),
            clock=host.clock,
            in_flight=own_settings.in_flight,
            run_seconds=own_settings.run_seconds,
            rewrites=own_settings.rewrites,
            models=own_settings.models,
        )
        approvals = Approvals(keys.verifier, host.clock)
        laboratory = Laboratory(at, experiments, BusPromotions(host.bus))
        subscribers.register(host.consumer, laboratory, approvals, concurrency=own_settings.concurrency)
        subscribers.register_descent(host.consumer, descent)

    return Application("evolution", shared_settings, register)
