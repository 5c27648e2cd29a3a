"""The local model server for tests: with a scripted engine in this process, or with real weights in its own."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import uvicorn

from evoline.model_server.app import ModelServer, ServerOptions, create_app
from evoline.model_server.engine import Engine
from evoline.models.choice import resolve_model
from evoline.stack.home import find_home
from tests.servers import free_port

START_SECONDS = 60.0


def weights() -> Path:
    """The chosen model's file (`EVOLINE_MODEL_FILE`, `evoline model use`, default); fails with what to do where it is absent."""
    choice = resolve_model(find_home(os.environ, Path.cwd()).root, os.environ)
    assert choice.kind == "file", "tests marked `model` need a model file, not an endpoint; choose one with: evoline model use"
    return Path(choice.value)


@contextmanager
def serving(engine: Engine, options: ServerOptions) -> Iterator[str]:
    """The address of a server around `engine`, on a thread of its own."""
    server = ModelServer(lambda: engine, options)
    port = free_port()
    config = uvicorn.Config(create_app(server, lambda: None), host="127.0.0.1", port=port, log_level="error", lifespan="on")
    web = uvicorn.Server(config)
    thread = threading.Thread(target=web.run, daemon=True)
    thread.start()
    url = f"http://127.0.0.1:{port}"
    try:
        wait_until_ready(url)
        yield url
    finally:
        server.abandon_all()
        web.should_exit = True
        thread.join(timeout=10)


@contextmanager
def serving_weights(*options: str) -> Iterator[tuple[str, subprocess.Popen[bytes]]]:
    """Address and process of a real server with real weights."""
    port = free_port()
    command = [sys.executable, "-m", "evoline.model_server", "--model", str(weights()), "--port", str(port), *options]
    process = subprocess.Popen(command, stderr=subprocess.PIPE)
    url = f"http://127.0.0.1:{port}"
    try:
        wait_until_ready(url, process)
        yield url, process
    finally:
        process.terminate()
        process.communicate(timeout=30)


def wait_until_ready(url: str, process: subprocess.Popen[bytes] | None = None) -> None:
    deadline = time.monotonic() + START_SECONDS
    pause = threading.Event()
    while time.monotonic() < deadline:
        assert process is None or process.poll() is None, "the model server ended while starting"
        try:
            with urllib.request.urlopen(f"{url}/health", timeout=2) as answer:
                if answer.status == 200:
                    return
        except OSError:  # not listening yet, or busy opening the weights
            pause.wait(0.05)
    raise AssertionError(f"no model server at {url} after {START_SECONDS:g} s")


def metric(url: str, name: str) -> float:
    """The value of an unlabelled metric."""
    with urllib.request.urlopen(f"{url}/metrics", timeout=10) as answer:
        lines = answer.read().decode().splitlines()
    return next(float(line.split()[1]) for line in lines if line.startswith(name + " "))
