"""The generator's composition root."""

from __future__ import annotations

from services.generator import subscribers
from services.generator.adapters.library import FileAndStoreLibrary, seed_templates
from services.generator.adapters.mongo import MongoLearnedTemplates, MongoRequestStore
from services.generator.adapters.nats import BusAnnouncer, BusCustodian, BusMetrics
from services.generator.settings import GeneratorSettings
from services.generator.use_cases import Generator
from shared.attestation import Approvals, Grants, KeyFile
from shared.messaging.fleet import Fleet
from shared.service import Application, Host
from shared.settings import SharedSettings


def create_app(settings: SharedSettings | None = None, own: GeneratorSettings | None = None) -> Application:
    shared_settings = settings or SharedSettings()
    own_settings = own or GeneratorSettings()

    async def register(host: Host) -> None:
        database = host.mongo.database("evoline_generator")
        keys = KeyFile(shared_settings.guardrail_public_key_file)
        seeds = seed_templates(shared_settings.pipelines_dir / "library")
        subscribers.register(
            host.consumer,
            Generator(
                requests=MongoRequestStore(database),
                library=FileAndStoreLibrary(seeds, MongoLearnedTemplates(database)),
                custodian=BusCustodian(host.bus, Grants(keys.verifier, host.clock)),
                runs=Fleet(host.bus),
                announcer=BusAnnouncer(host.bus),
                metrics=BusMetrics(host.bus),
                clock=host.clock,
                trial_in_flight=own_settings.trial_in_flight,
                synthesis_seconds=own_settings.synthesis_seconds,
            ),
            Approvals(keys.verifier, host.clock),
            concurrency=own_settings.concurrency,
        )

    return Application("generator", shared_settings, register)
