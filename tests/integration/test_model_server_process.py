"""The model server as a process: what stops it from starting, and how it ends."""

from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path

import httpx2
import pytest

from evoline.model_server.engine import check_machine
from shared.errors import ConfigurationError
from tests.eventually import eventually
from tests.model_servers import serving_weights
from tests.servers import free_port


def start(model: Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "evoline.model_server", "--model", str(model), "--port", str(free_port())]
    return subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)


def test_a_missing_file_is_said_before_anything_starts(tmp_path: Path) -> None:
    ended = start(tmp_path / "none.gguf")
    assert ended.returncode == 2
    assert "does not exist; get one with: evoline model pull" in ended.stderr


def test_a_file_of_another_kind_is_said_before_anything_starts(tmp_path: Path) -> None:
    file = tmp_path / "text.gguf"
    file.write_text("hello")
    assert "is not a GGUF file" in start(file).stderr


def test_a_damaged_file_ends_the_process_with_the_reason(tmp_path: Path) -> None:
    file = tmp_path / "cut.gguf"
    file.write_bytes(b"GGUF" + bytes(1000))
    ended = start(file)
    assert ended.returncode == 2
    assert "cannot be loaded" in ended.stderr


def test_a_processor_without_avx2_is_refused_with_a_way_out() -> None:
    with pytest.raises(ConfigurationError, match="AVX2"):
        check_machine(frozenset({"sse2", "avx"}))
    check_machine(frozenset({"avx2"}))
    check_machine(frozenset())


def snapshot_folders(place: Path) -> list[Path]:
    return list(place.glob("evoline-model-*"))


@pytest.mark.model
async def test_sigterm_in_the_middle_of_a_generation_ends_it_cleanly(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    with serving_weights("--slots", "1") as (url, process):
        body = {"model": "local", "max_tokens": 2000, "messages": [{"role": "user", "content": "Count from 1 to 1000."}]}
        async with (
            httpx2.AsyncClient(base_url=url, timeout=60) as client,
            client.stream("POST", "/v1/messages", json=body | {"stream": True}) as answer,
        ):
            assert answer.status_code == 200
            assert len(snapshot_folders(tmp_path)) == 1
            process.send_signal(signal.SIGTERM)
            await eventually(lambda: process.poll() is not None, timeout_seconds=20)
    assert process.returncode == 0
    assert snapshot_folders(tmp_path) == []
