"""`evoline demo`: the whole job once, on real data, with a report of what happened."""
