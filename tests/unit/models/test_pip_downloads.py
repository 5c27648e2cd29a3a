from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from evoline.models.wheels import PipDownloads
from shared.errors import ConfigurationError, UnavailableError
from tests.eventually import eventually


def interpreter(folder: Path, script: str) -> str:
    """A program in Python's place, which does what `script` says."""
    program = folder / "python"
    program.write_text(f"#!/bin/sh\n{script}\n")
    program.chmod(0o755)
    return str(program)


def test_the_wheel_that_pip_brings_is_the_answer(tmp_path: Path) -> None:
    python = interpreter(tmp_path, 'while [ "$1" != "--dest" ]; do shift; done; mkdir "$2"; echo x > "$2/box.whl"')
    assert PipDownloads(python).download("box==1", tmp_path).read_text() == "x\n"


def test_only_wheels_without_dependencies_are_asked_for(tmp_path: Path) -> None:
    python = interpreter(tmp_path, f'echo "$@" > {tmp_path}/asked; exit 1')
    with pytest.raises(UnavailableError):
        PipDownloads(python).download("box==1", tmp_path)
    asked = (tmp_path / "asked").read_text()
    assert "--no-deps --only-binary :all:" in asked
    assert "install" not in asked


@pytest.mark.parametrize(
    ("said", "error", "advice"),
    [
        ("No module named pip", ConfigurationError, "ensurepip"),
        ("ERROR: No matching distribution found for box==1", UnavailableError, "evoline model use"),
        ("connection reset", UnavailableError, "goes on where it was"),
    ],
)
def test_each_failure_of_pip_comes_with_its_way_out(tmp_path: Path, said: str, error: type[Exception], advice: str) -> None:
    with pytest.raises(error, match=advice):
        PipDownloads(interpreter(tmp_path, f"echo '{said}'; exit 1")).download("box==1", tmp_path)


def test_a_pip_that_brings_nothing_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(UnavailableError, match="no wheel"):
        PipDownloads(interpreter(tmp_path, "exit 0")).download("box==1", tmp_path)


async def test_stopping_ends_a_download_under_way(tmp_path: Path) -> None:
    downloads = PipDownloads(interpreter(tmp_path, f"touch {tmp_path}/started; exec sleep 60"))
    with ThreadPoolExecutor(1) as pool:
        running = pool.submit(downloads.download, "box==1", tmp_path)
        await eventually((tmp_path / "started").exists)
        started = time.monotonic()
        downloads.stop()
        with pytest.raises(UnavailableError, match="stopped"):
            running.result(timeout=10)
    assert time.monotonic() - started < 5
