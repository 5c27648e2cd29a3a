"""The composition root of analytics."""

from __future__ import annotations

from services.analytics import subscribers
from services.analytics.adapters.mongo import MongoAggregateStore
from services.analytics.settings import AnalyticsSettings
from services.analytics.use_cases import Analytics, Pace
from shared.service import Application, Host
from shared.settings import SharedSettings


def create_app(settings: SharedSettings | None = None, own: AnalyticsSettings | None = None) -> Application:
    shared_settings = settings or SharedSettings()
    own_settings = own or AnalyticsSettings()

    async def register(host: Host) -> None:
        store = MongoAggregateStore(host.mongo.database("evoline_analytics"))
        subscribers.register(host.consumer, Analytics(store, host.clock, Pace(own_settings.publish_interval_seconds)))

    return Application("analytics", shared_settings, register)
