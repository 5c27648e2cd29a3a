"""Writes `docs/events.md` and `docs/asyncapi.json` from the message classes: `python -m shared.messaging.catalogue [--check]`."""
