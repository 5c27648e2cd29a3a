"""Six deployables; each talks to the others over the bus only."""
