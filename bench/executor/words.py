"""What a reader of the tables has to know."""

from __future__ import annotations

DURABILITY = """\
All engines run on this machine at the same time and are measured in turn, A B C D then D C B A.

- Evoline: one broker node with every write synced, a MongoDB-compatible server with every commit synced, an executor process, and
  the client that starts the runs and hears of their ends. Runs are of attested, deployed pipelines of `set_variable` steps.
- DBOS: asynchronous workflows called directly; PostgreSQL as `initdb` makes it, fsync and synchronous_commit on; Unix socket.
- LangGraph: `durability="sync"`; SQLite in WAL mode, synchronous=FULL, in the same process.
- Temporal: the development server with an SQLite file; worker and client in one process.
"""

FAIRNESS = """\
What is unfair, in whose favour:

- DBOS and LangGraph: a run is a function call in the process that wants its result. No command crosses a broker, no signature is
  checked, no other process takes the work or notices that this one died. The whole run of Evoline includes all that.
  (DBOS's own queue is polled every second: a queued run of three steps takes about a second, 32 at once about 20 a second.)
- LangGraph: its store is a file of the same process, without leases and takeover; two processes cannot share the work.
- Against Evoline: PostgreSQL and SQLite are old and written in C, the MongoDB-compatible server is a beta.
- Evoline: journal writes of concurrent runs are committed together. That helps in table 2, not in table 1.
- Evoline: a step is measured as the difference of long and short runs, so claim, end and delivery cancel out; the whole run stands
  beside it.
- Against Temporal: its development server is made for trying things out, a production cluster on a real database is faster. Every
  single step goes through a queue to a worker, as only whole runs do in Evoline.
- Nothing happens in these steps. Beside a model call of a second all of these costs are small.
"""

FLIGHT_BOUND = """\
On a machine with few cores processor time bounds this, not waiting: every call costs the SDK some milliseconds in the one process
that makes the calls, with Evoline or without, and stand-in, broker, store and client share the cores. The first row holds SDK and
stand-in only. The row without an SDK shows what journal, broker and store take beyond the ideal. The last row is the same load at
the pace of a large model's answers, measured once.
"""
