"""Rollouts: started by a command or a change, fed by ended runs, decided by evidence, carried out by compare-and-set."""
