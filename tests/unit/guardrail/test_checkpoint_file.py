"""Checkpoints in their file: what was acknowledged stays, half a line is none."""

from __future__ import annotations

import contextlib
import json
import resource
from collections.abc import Iterator
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from services.guardrail.adapters import checkpoint_file
from services.guardrail.adapters.checkpoint_file import CheckpointFile
from services.guardrail.settings import GuardrailSettings
from shared.audit.checkpoints import Checkpoint, TreeHead, signed
from shared.errors import ConfigurationError, UnavailableError
from tests.fakes.guardrail import bench


def over(size: int) -> Checkpoint:
    return signed(bench().signer.key, TreeHead(size, "ab" * 32, "2026-11-26T12:00:00+00:00"))


@contextlib.contextmanager
def room_for(size: int) -> Iterator[None]:
    """No file of this process grows beyond it: a write that would is cut there, as by a full disk."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


def test_what_comes_after_a_full_disk_is_a_line_of_its_own(tmp_path: Path) -> None:
    path, keys = tmp_path / "checkpoints.jsonl", bench().signer.verifier.keys
    file = CheckpointFile(path, keys)
    file.add(over(3))
    whole = path.read_bytes()
    with room_for(len(whole) + 40), pytest.raises(UnavailableError, match="over 9 entries cannot be written"):
        file.add(over(9))
    assert len(path.read_bytes()) == len(whole) + 40
    with capture_logs() as said:
        file.add(over(12))
    assert [(each["log_level"], each["bytes"]) for each in said] == [("warning", 40)]
    assert path.read_bytes().startswith(whole)
    assert [each.head.size for each in CheckpointFile(path, keys).all()] == [3, 12]
    assert [each.head.size for each in file.all()] == [3, 12]


@pytest.mark.parametrize("is_restarted", [True, False])
def test_a_checkpoint_that_only_lacks_the_end_of_its_line_is_kept(tmp_path: Path, is_restarted: bool) -> None:
    path, keys = tmp_path / "checkpoints.jsonl", bench().signer.verifier.keys
    file = CheckpointFile(path, keys)
    for size in (3, 9):
        file.add(over(size))
    path.write_bytes(path.read_bytes().removesuffix(b"\n"))
    (CheckpointFile(path, keys) if is_restarted else file).add(over(12))
    assert [each.head.size for each in CheckpointFile(path, keys).all()] == [3, 9, 12]


def test_checkpoints_survive_in_their_file_and_half_a_line_is_no_checkpoint(tmp_path: Path) -> None:
    signer = bench().signer
    path, keys = tmp_path / "audit" / "checkpoints.jsonl", signer.verifier.keys
    file = CheckpointFile(path, keys)
    assert file.latest() is None
    for size in (3, 9):
        file.add(signed(signer.key, TreeHead(size, "ab" * 32, "2026-11-26T12:00:00+00:00")))
    with path.open("a") as torn:
        torn.write('{"size": 12, "no')
    again = CheckpointFile(path, keys)
    assert [each.head.size for each in again.all()] == [3, 9]
    again.add(signed(signer.key, TreeHead(12, "cd" * 32, "2026-11-26T12:01:00+00:00")))
    assert [each.head.size for each in CheckpointFile(path, keys).all()] == [3, 9, 12]


def test_a_process_remembers_the_newest_checkpoints_only_and_the_last_two_seconds_are_open(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(checkpoint_file, "_MOST", 3)
    signer = bench().signer
    file = CheckpointFile(tmp_path / "checkpoints", signer.verifier.keys)
    for size in range(1, 8):
        file.add(signed(signer.key, TreeHead(size, "00" * 32, "2026-11-22T12:00:00+00:00")))
    assert [each.head.size for each in file.all()] == [5, 6, 7]
    assert len((tmp_path / "checkpoints").read_text().splitlines()) == 7
    assert GuardrailSettings().checkpoint_interval_seconds <= 2


def test_a_checkpoint_that_nobody_trusted_signed_is_refused_with_its_line(tmp_path: Path) -> None:
    path, signer = tmp_path / "checkpoints.jsonl", bench().signer
    path.write_text(json.dumps({"note": "nothing"}) + "\n")
    with pytest.raises(ConfigurationError, match="line 1"):
        CheckpointFile(path, signer.verifier.keys)
    with pytest.raises(ConfigurationError, match="cannot be used"):
        CheckpointFile(tmp_path, signer.verifier.keys)
