"""Permission to call a provider: limits that all executors keep together, turns between tenants, pauses that providers ask for."""

from __future__ import annotations

from services.executor.engine.permits.permit import NoPermitError, Permit
from services.executor.engine.permits.permits import Permits, Wanted

__all__ = ["NoPermitError", "Permit", "Permits", "Wanted"]
