"""Adapters of evolution: MongoDB and the bus."""
