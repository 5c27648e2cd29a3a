"""The tree of revisions and of what searches tried between them."""
