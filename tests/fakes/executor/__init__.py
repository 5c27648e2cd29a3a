"""An executor on in-memory stores: the real adapters on `InMemoryDatabase`, fakes only for what is behind the bus."""

from __future__ import annotations

from tests.fakes.executor.kit import ExecutorKit, new_id
from tests.fakes.executor.notary import Notary
from tests.fakes.executor.recording import Facts, RecordingAnnouncer, RecordingShadows, RecordingTimers, SilentRunObserver
from tests.fakes.executor.scripted import InProcessComputations, ScriptedBusChildren, ScriptedProposals, ScriptedQuestions

__all__ = [
    "ExecutorKit",
    "Facts",
    "InProcessComputations",
    "Notary",
    "RecordingAnnouncer",
    "RecordingShadows",
    "RecordingTimers",
    "ScriptedBusChildren",
    "ScriptedProposals",
    "ScriptedQuestions",
    "SilentRunObserver",
    "new_id",
]
