"""Computations of steps in child processes, so that none of them can stop, fill up or bring down the executor.

`child` is the program of a child and imports next to nothing; `frames` is what both sides say to each other."""
