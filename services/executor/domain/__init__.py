"""Facts and rules of a run: its record, its journal, its limits, its admission and its outcome. Pure."""
