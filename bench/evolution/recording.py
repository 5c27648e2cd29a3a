"""A local model whose every answer is kept: asked once, replayed for ever. The table holds hashes and answers, no task's text."""

from __future__ import annotations

import hashlib
import json
import os
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Protocol, Self

from evoline.models.catalogue import read_catalogue
from evoline.models.choice import resolve_model
from evoline.stack.home import find_home

MAX_TOKENS = 48
_START_SECONDS = 120.0


class NotRecordedError(LookupError):
    """The answer is in no table, and there is no model to ask."""


class Asked(Protocol):
    def __call__(self, prompt: str, schema: Mapping[str, Any]) -> str: ...


class RecordedModel:
    """Answers from the table; what is not there is asked of `model`, where there is one, and kept before it is given."""

    def __init__(self, table: Path, model: Asked | None = None) -> None:
        self._table = table
        self._model = model
        whole = table.read_bytes() if table.exists() else b""
        self._known: dict[str, str] = dict(json.loads(line) for line in whole[: whole.rfind(b"\n") + 1].splitlines())
        self.asked = 0

    def __call__(self, prompt: str, schema: Mapping[str, Any]) -> str:
        key = hashlib.sha256(json.dumps([prompt, schema], sort_keys=True).encode()).hexdigest()[:20]
        if key not in self._known:
            if self._model is None:
                raise NotRecordedError(f"{self._table} has no answer {key}: run the bench with the local model")
            answer = self._model(prompt, schema)
            self.asked += 1
            self._table.parent.mkdir(parents=True, exist_ok=True)
            with self._table.open("a") as file:
                file.write(json.dumps([key, answer]) + "\n")
            self._known[key] = answer
        return self._known[key]


class LocalModel:
    """The project's own model server, greedy; started when the first answer is needed and stopped at the end of the block."""

    def __init__(self) -> None:
        self._process: subprocess.Popen[bytes] | None = None
        self._address = ""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        if self._process is not None:
            self._process.terminate()
            self._process.wait(30)

    def __call__(self, prompt: str, schema: Mapping[str, Any]) -> str:
        if self._process is None:
            self._start()
        return _asked(f"{self._address}/v1/messages", prompt, schema)

    def _start(self) -> None:
        choice = resolve_model(find_home(os.environ, Path.cwd()).root, os.environ)
        if choice.kind != "file":
            raise RuntimeError(f"the local model is {choice.value}: choose a model file with `evoline model use`")
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port = probe.getsockname()[1]
        command = [sys.executable, "-m", "evoline.model_server", "--model", choice.value, "--port", str(port)]
        self._process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        self._address = f"http://127.0.0.1:{port}"
        _wait(f"{self._address}/health", self._process)


def default_model() -> str:
    return str(read_catalogue().default)


def _asked(url: str, prompt: str, schema: Mapping[str, Any]) -> str:
    body = {
        "model": "local",
        "max_tokens": MAX_TOKENS,
        "messages": [{"role": "user", "content": prompt}],
        "output_config": {"format": {"type": "json_schema", "schema": schema}},
    }
    request = urllib.request.Request(url, json.dumps(body).encode(), {"content-type": "application/json"})
    with urllib.request.urlopen(request, timeout=120) as answer:
        content = json.load(answer)["content"]
    return str(content[0]["text"]) if content else ""


def _wait(url: str, process: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + _START_SECONDS
    while time.monotonic() < deadline:
        if process.poll() is not None:
            raise RuntimeError(f"the model server ended with code {process.returncode}")
        try:
            with urllib.request.urlopen(url, timeout=2) as answer:
                if answer.status == 200:
                    return
        except OSError:  # not listening yet, or opening the weights
            time.sleep(0.1)
    raise RuntimeError(f"no model server at {url} after {_START_SECONDS:g} s")
