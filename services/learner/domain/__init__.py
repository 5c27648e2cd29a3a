"""Counting regularities in measured revisions, and making a template of what measured best. Pure."""
