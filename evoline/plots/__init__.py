"""Pictures of searches, as PNG and as pages that need no other host. matplotlib is loaded when one is drawn."""
