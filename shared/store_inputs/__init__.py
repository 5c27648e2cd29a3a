"""Inputs that documents name and nobody gives: filled from what the services' stores hold, by their documented queries.

Every value is derived from records. Where a store has nothing yet, the value is an empty text, list or map."""

from __future__ import annotations

from shared.store_inputs.filling import StoreInputs, required_inputs, store_names
from shared.store_inputs.stores import Questions, Stores

__all__ = ["Questions", "StoreInputs", "Stores", "required_inputs", "store_names"]
