"""The guardrail's composition root."""

from __future__ import annotations

from functools import partial

import nats.errors
import structlog

from services.guardrail import subscribers, use_cases
from services.guardrail.adapters.allowances import MongoAllowances
from services.guardrail.adapters.announcing import BusAnnouncer
from services.guardrail.adapters.audit_log import MongoAuditLog
from services.guardrail.adapters.budgets import MongoBudgets
from services.guardrail.adapters.checkpoint_file import CheckpointFile
from services.guardrail.adapters.custody import MongoDatasets
from services.guardrail.adapters.files import DEFAULT_POLICY, read_policy, read_shipped
from services.guardrail.adapters.freezes import MongoFreezes
from services.guardrail.adapters.keys import FileSigner
from services.guardrail.adapters.late_notes import MongoLateNotes
from services.guardrail.adapters.metrics import PrometheusGauges, PrometheusOversight
from services.guardrail.adapters.mongo import MongoChanges, MongoDeployments, MongoRevisions, MongoRollbacks
from services.guardrail.adapters.oversight import MongoDelegations, MongoRegistryNotes
from services.guardrail.adapters.policies import MongoPolicies
from services.guardrail.adapters.prices import TablePrices
from services.guardrail.adapters.rollouts import MongoRollouts
from services.guardrail.adapters.scopes import BusSealing, MongoScopes
from services.guardrail.domain.turns import Turns
from services.guardrail.ports import AuditLogUnsoundError, Guardrail, Limits
from services.guardrail.settings import GuardrailSettings
from services.guardrail.use_cases import Effects
from shared.background import WentWell, Work
from shared.errors import ConfigurationError, TransientError, UnavailableError
from shared.identity import RegistryFile
from shared.llm import providers_of
from shared.messaging.fleet import Fleet
from shared.messaging.topology import durables
from shared.service import Application, Host
from shared.settings import ProviderSettings, SharedSettings
from shared.storage.grouped import GroupedDatabase
from shared.storage.mongo import MongoStore, connect

KEYS_AGAIN_SECONDS = 60.0
LOST_MARGIN_SECONDS = 0.5
PROPOSALS = "guardrail-propose"
SEALED_DATABASE = "evoline_sealed"


def create_app(settings: SharedSettings | None = None, own: GuardrailSettings | None = None) -> Application:
    shared_settings = settings or SharedSettings()
    own_settings = own or GuardrailSettings()

    async def register(host: Host) -> None:
        shipped = read_shipped(shared_settings.pipelines_dir / "meta")
        at = await _guardrail(host, shared_settings, own_settings, frozenset(document.name for document in shipped))
        await _watch_audit_log(host, at, own_settings)
        if at.audit.is_sound:
            await _tell(host, await use_cases.seed_policy(at, reset=own_settings.policy_reset))
            await _tell(host, await use_cases.attest_shipped(shipped, await use_cases.in_force(at)))
        subscribers.register(host.consumer, at, concurrency=own_settings.concurrency)
        await _outwait_lost_deliveries(host)

        async def watch() -> None:
            if at.audit.is_sound:
                await _look_at_reviews(host, at)

        async def sweep() -> None:
            await use_cases.sweep_budgets(await use_cases.in_force(at))

        async def look_at_rollouts() -> None:
            await use_cases.advance_all(at)

        async def forget() -> None:
            await use_cases.forget_outcomes(at)

        host.run_in_background("adopt keys", partial(_adopt_keys, host, at, own_settings.keys_interval_seconds))
        host.run_in_background("carry on held changes", partial(_carry_on, host, at, own_settings.held_interval_seconds))
        run_in_rounds(host, "watch over reviews", watch, own_settings.expiry_interval_seconds)
        run_in_rounds(host, "sweep budgets", sweep, own_settings.budget_sweep_seconds)
        run_in_rounds(host, "look at rollouts", look_at_rollouts, own_settings.rollout_interval_seconds)
        run_in_rounds(host, "forget outcomes of rollouts", forget, own_settings.forgetting_interval_seconds)

    return Application("guardrail", shared_settings, register)


async def _guardrail(host: Host, shared_settings: SharedSettings, own: GuardrailSettings, meta_names: frozenset[str]) -> Guardrail:
    database, sealed = GroupedDatabase(host.database), (await _sealed_store(host, shared_settings, own)).database(SEALED_DATABASE)
    changes, revisions, audit = MongoChanges(database), MongoRevisions(database), MongoAuditLog(database)
    rollouts = MongoRollouts(database)
    for store in (changes, revisions, audit, rollouts):
        await store.ensure_indexes()
    signer = FileSigner(own.private_key_file, shared_settings.guardrail_public_key_file, host.clock)
    return Guardrail(
        changes=changes,
        revisions=revisions,
        deployments=MongoDeployments(database),
        datasets=MongoDatasets(database, sealed),
        allowances=MongoAllowances(database),
        budgets=MongoBudgets(database),
        sealing=BusSealing(host.bus),
        prices=TablePrices(providers_of(ProviderSettings())),
        scopes=MongoScopes(database),
        rollbacks=MongoRollbacks(database),
        policies=MongoPolicies(database),
        freeze=MongoFreezes(database),
        rollouts=rollouts,
        announcer=BusAnnouncer(host.bus),
        audit=audit,
        late_notes=MongoLateNotes(database),
        checkpoints=CheckpointFile(own.checkpoints, signer.keys),
        runs=Fleet(host.bus),
        signer=signer,
        gauges=PrometheusGauges(host.metrics.changes, host.metrics.audit, host.metrics.budgets, host.metrics.rollouts),
        identities=RegistryFile(shared_settings.identities_file),
        registry_notes=MongoRegistryNotes(database),
        delegations=MongoDelegations(database),
        oversight=PrometheusOversight(host.metrics.oversight),
        clock=host.clock,
        policy=read_policy(own.policy_file or DEFAULT_POLICY),
        meta_names=meta_names,
        limits=Limits(gate_in_flight=own.gate_in_flight, gate_seconds=own.gate_seconds),
        turns=Turns(own.concurrency),
    )


async def _watch_audit_log(host: Host, at: Guardrail, own: GuardrailSettings) -> None:
    """Checks the whole log before anything is decided, then keeps its checkpoints up to date, the last one at the stop.

    A log that is not what it was is told at every look; the process goes on, so that people can ask it what is wrong."""
    log = structlog.get_logger("services.guardrail")

    async def look(*, whole: bool = False) -> None:
        try:
            if whole and not await use_cases.check_audit_log(at):
                await use_cases.take_up_late_notes(at)
            await _tell(host, await use_cases.checkpoint_audit_log(at))
        except AuditLogUnsoundError as error:
            log.error("audit log unsound", error=str(error), checkpoints=str(own.checkpoints))

    async def watch(went_well: WentWell) -> None:
        checked = host.clock.monotonic()
        while True:
            due = host.clock.monotonic() - checked >= own.audit_check_interval_seconds
            await look(whole=due)
            checked = host.clock.monotonic() if due else checked
            went_well()
            await host.clock.sleep(own.checkpoint_interval_seconds)

    await look(whole=True)
    host.run_in_background("watch audit log", watch)
    host.on_stop(look)


async def _sealed_store(host: Host, shared_settings: SharedSettings, own: GuardrailSettings) -> MongoStore:
    """A connection of its own, so that nothing that goes wrong with the other one reaches sealed labels."""
    if not (own.sealed_mongo_user or own.sealed_mongo_url.get_secret_value()):
        return host.mongo
    url = own.sealed_mongo_url if own.sealed_mongo_url.get_secret_value() else shared_settings.mongo_url
    store = connect(url, user=own.sealed_mongo_user, password=own.sealed_mongo_password)

    async def close() -> None:
        store.close()

    host.on_stop(close)
    try:
        await store.ping()
    except UnavailableError as error:
        raise ConfigurationError(f"the store of sealed cases cannot be used: {error}") from error
    host.checks["sealed store"] = store.ping
    return store


def run_in_rounds(host: Host, name: str, work: Work, seconds: float) -> None:
    """A store that is away, or a policy that is not believed, puts a round off. It must not end the process: what the process
    remembers, such as which policy was in force, is what the next answer is held against."""

    async def rounds(went_well: WentWell) -> None:
        while True:
            try:
                await work()
                went_well()
            except AuditLogUnsoundError as error:
                # No outage: the watch over the log tells it, and people are to find a guardrail that answers them.
                structlog.get_logger("services.guardrail").warning("round left out", work=name, error=str(error))
                went_well()
            except TransientError as error:
                structlog.get_logger("services.guardrail").warning("round put off", work=name, error=str(error))
                went_well.put_off(str(error))
            await host.clock.sleep(seconds)

    host.run_in_background(name, rounds)


async def _outwait_lost_deliveries(host: Host) -> None:
    """Proposals that a lost process had taken come back when their time to acknowledge is over, before all others. Who took new
    ones earlier than that would judge them before those that came first."""
    row = next(each for each in durables() if each.name == PROPOSALS)
    try:
        info = await host.bus.jetstream.consumer_info(row.stream, row.name)
    except (nats.errors.Error, TimeoutError, OSError):
        return  # the consumer says next what is missing
    if info.num_ack_pending:
        structlog.get_logger("services.guardrail").info("waits for proposals of a lost process", count=info.num_ack_pending)
        await host.clock.sleep(row.ack_wait_seconds + LOST_MARGIN_SECONDS)


async def _look_at_reviews(host: Host, at: Guardrail) -> None:
    """What is due now."""
    await _tell(host, await use_cases.note_identities(at))
    await use_cases.expire_reviews(await use_cases.in_force(at), lambda effects: _tell(host, effects))
    await use_cases.lapse_glass(at, lambda effects: _tell(host, effects))


async def _carry_on(host: Host, at: Guardrail, seconds: float, went_well: WentWell) -> None:
    async def tell(cause: str, effects: Effects) -> None:
        for effect, fact in effects:
            await host.bus.publish(fact, cause=cause, effect=effect)

    held = use_cases.HeldChanges(at, tell)
    while True:
        try:
            done = await held.round()
            went_well()
        except UnavailableError as error:
            structlog.get_logger("services.guardrail").warning("held changes not readable", error=str(error))
            went_well.put_off(str(error))
            done = 0
        if not done:
            await host.clock.sleep(seconds)


async def _adopt_keys(host: Host, at: Guardrail, seconds: float, went_well: WentWell) -> None:
    """Looks anew after a minute too: another process may have stored what it signed before it read the new key. It signed with one
    that was trusted, so only what those signed that were ever seen here is looked at then."""
    seen, rounds, known = None, 0, set[str]()
    while True:
        try:
            keys = at.signer.ring()
            if keys != seen or rounds >= KEYS_AGAIN_SECONDS / seconds:
                known |= {keys.signing, *keys.trusted, *keys.revoked}
                effects = await use_cases.adopt_keys(at, None if keys != seen else sorted(known))
                if seen is not None and keys != seen and at.audit.is_sound:
                    # The newest checkpoint must not be one that only a former key signed: that key may be revoked next.
                    await _tell(host, await use_cases.checkpoint_audit_log(at))
                if keys != seen or any(getattr(fact, "reattested", 0) for _, fact in effects):
                    await _tell(host, effects)
                seen, rounds = keys, 0
            went_well()
        except AuditLogUnsoundError as error:
            structlog.get_logger("services.guardrail").error("nothing is signed again", error=str(error))
            went_well()
        except UnavailableError as error:
            structlog.get_logger("services.guardrail").error("keys cannot be used", error=str(error))
            went_well.put_off(str(error))
        rounds += 1
        await host.clock.sleep(seconds)


async def _tell(host: Host, effects: Effects) -> None:
    """For effects that no message caused: their names carry the change they belong to, so they are told once."""
    for effect, fact in effects:
        await host.bus.publish(fact, cause=use_cases.OWN, effect=effect)
