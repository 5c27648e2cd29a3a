"""Limits of providers that the whole fleet keeps together: what is allowed, whose turn it is, what was taken."""
