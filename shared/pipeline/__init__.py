"""The pipeline language: documents, templates, checks, step types."""
