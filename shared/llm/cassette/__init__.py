"""Model calls recorded to a file and replayed from it, without a provider.

`EVOLINE_CASSETTE=record:FILE` or `replay:FILE`; the format is in `shared.llm.cassette.tape`."""

from __future__ import annotations

from shared.llm.cassette.choice import CassetteChoice, chosen_cassette, is_replay
from shared.llm.cassette.recording import RecordingModel
from shared.llm.cassette.replaying import ReplayingModel
from shared.llm.cassette.tape import Tape, TapeWriter, read_tape

__all__ = ["CassetteChoice", "RecordingModel", "ReplayingModel", "Tape", "TapeWriter", "chosen_cassette", "is_replay", "read_tape"]
