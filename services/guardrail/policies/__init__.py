"""Shipped policies, as data."""
