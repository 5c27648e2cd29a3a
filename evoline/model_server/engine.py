"""llama.cpp in this process. Every method blocks and may be called from any thread; different slots run side by side."""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, Protocol
from urllib.parse import urlsplit

from evoline.model_server.chat import RequestRefusedError, Turn
from shared.errors import ConfigurationError

GGUF_MAGIC = b"GGUF"
INNER_TIMEOUT_SECONDS = 60.0


@dataclass(frozen=True)
class Job:
    """One generation from a tokenised prompt on one slot."""

    slot: int
    tokens: Sequence[int]
    max_tokens: int
    temperature: float = 0.0
    seed: int | None = None
    grammar: str = ""
    stop_sequences: tuple[str, ...] = ()


@dataclass(frozen=True)
class Generated:
    text: str
    stop: Literal["end", "max_tokens", "abandoned"]
    cached_tokens: int = 0
    output_tokens: int = 0


OnText = Callable[[str], bool]
"""Called with each new piece of text and, with an empty one, while the prompt is read; True abandons the generation."""


class Engine(Protocol):
    @property
    def slots(self) -> int: ...
    @property
    def context_tokens(self) -> int:
        """Prompt and answer together, for one slot."""
        ...

    def render(self, turns: Sequence[Turn], opening: str) -> str:
        """The prompt in the model's own chat template, ending where the answer goes on after `opening`."""
        ...

    def tokenize(self, text: str) -> tuple[int, ...]: ...
    def generate(self, job: Job, on_text: OnText) -> Generated: ...
    def keep(self, slot: int, name: str) -> None:
        """Keeps what the idle slot has evaluated under `name`."""
        ...

    def load(self, slot: int, name: str) -> None: ...
    def close(self) -> None: ...


@dataclass(frozen=True)
class EngineOptions:
    """Defaults by measurement, see `docs/models.md`."""

    file: Path
    slots: int = 4
    context_tokens: int = 4096
    decode_threads: int = 2
    prompt_threads: int = 2
    batch_tokens: int = 256
    """Prompt tokens read at a time: between two such steps other slots go on and abandoned calls end."""


class LlamaEngine:
    """Opens the model file; raises `ConfigurationError` with what is wrong and what to do."""

    def __init__(self, options: EngineOptions) -> None:
        check_machine(cpu_flags())
        check_file(options.file)
        self.slots = options.slots
        self.context_tokens = options.context_tokens
        self._snapshots = tempfile.TemporaryDirectory(prefix="evoline-model-")
        try:
            self._server = self._open(options)
        except RuntimeError as error:
            self._snapshots.cleanup()
            reason = f"{options.file} cannot be loaded: it is damaged, not a language model, or too large for this machine's memory"
            raise ConfigurationError(f"{reason}; pull it again or choose another with: evoline model use") from error
        address = urlsplit(self._server.listening_address)
        self._address = (str(address.hostname), int(address.port or 80))

    def _open(self, options: EngineOptions) -> Any:
        # Spinning threads starve under load: with one other busy process decoding fell from 23 to 2 tokens a second.
        os.environ.setdefault("OMP_WAIT_POLICY", "passive")
        import xllamacpp  # the variable above is read at import

        parameters = xllamacpp.CommonParams()
        parameters.model.path = str(options.file)
        parameters.n_parallel = options.slots
        parameters.n_ctx = options.slots * options.context_tokens
        parameters.kv_unified = False  # a slot's context is its own: one long prompt cannot push out another's
        parameters.n_batch = options.batch_tokens
        parameters.n_ubatch = options.batch_tokens
        parameters.cpuparams.n_threads = options.decode_threads
        parameters.cpuparams_batch.n_threads = options.prompt_threads
        parameters.cache_ram_mib = 0  # `slots` and snapshots do this better
        parameters.slot_save_path = self._snapshots.name + "/"
        parameters.verbosity = -1
        parameters.hostnames = ["127.0.0.1"]
        parameters.port = 0
        return xllamacpp.Server(parameters)

    def render(self, turns: Sequence[Turn], opening: str) -> str:
        messages = [{"role": turn.role, "content": turn.text} for turn in turns]
        if opening:
            messages.append({"role": "assistant", "content": opening})
        return str(self._ask("/apply-template", {"messages": messages})["prompt"])

    def tokenize(self, text: str) -> tuple[int, ...]:
        return tuple(self._ask("/tokenize", {"content": text, "parse_special": True})["tokens"])

    def keep(self, slot: int, name: str) -> None:
        self._ask(f"/slots/{slot}?action=save", {"filename": name})

    def load(self, slot: int, name: str) -> None:
        self._ask(f"/slots/{slot}?action=restore", {"filename": name})

    def generate(self, job: Job, on_text: OnText) -> Generated:
        """Raises `RequestRefusedError` where llama.cpp refuses or fails."""
        reader = _Reader(on_text)
        self._server.handle_completions(_body(job), reader)
        return reader.result()

    def close(self) -> None:
        del self._server
        self._snapshots.cleanup()

    def _ask(self, path: str, body: Mapping[str, Any]) -> dict[str, Any]:
        """What has no call in the binding goes to llama.cpp's own listener on the loopback."""
        connection = http.client.HTTPConnection(*self._address, timeout=INNER_TIMEOUT_SECONDS)
        with contextlib.closing(connection):
            connection.request("POST", path, json.dumps(body), {"content-type": "application/json"})
            answer: dict[str, Any] = json.loads(connection.getresponse().read())
        _raise_error(answer)
        return answer


class _Reader:
    """Collects the pieces of one generation; llama.cpp calls it from the generating thread."""

    def __init__(self, on_text: OnText) -> None:
        self._on_text = on_text
        self._text = ""
        self._abandoned = False
        self._finish = ""
        self._last: dict[str, Any] = {}

    def __call__(self, chunk: Any) -> bool:
        for part in chunk if isinstance(chunk, list) else [chunk]:
            self._last = part | ({"usage": self._last["usage"]} if "usage" in self._last and "usage" not in part else {})
            for choice in part.get("choices", ()):
                self._finish = choice.get("finish_reason") or self._finish
                self._text += choice["text"]
                self._abandoned = self._abandoned or self._on_text(choice["text"])
        return self._abandoned

    def result(self) -> Generated:
        _raise_error(self._last)
        if self._abandoned:
            return Generated(self._text, "abandoned")
        if not self._finish:
            raise RequestRefusedError("failed", "the generation ended without a result")
        usage = self._last.get("usage", {})
        return Generated(
            text=self._text,
            stop="max_tokens" if self._finish == "length" else "end",
            cached_tokens=int((usage.get("prompt_tokens_details") or {}).get("cached_tokens", 0)),
            output_tokens=int(usage.get("completion_tokens", 0)),
        )


def _body(job: Job) -> dict[str, Any]:
    body: dict[str, Any] = {
        "prompt": list(job.tokens),
        "n_predict": job.max_tokens,
        "temperature": job.temperature,
        "cache_prompt": True,
        "id_slot": job.slot,
        "stream": True,
        "stream_options": {"include_usage": True},
        "return_progress": True,
    }
    if job.seed is not None:
        body["seed"] = job.seed
    if job.grammar:
        body["grammar"] = job.grammar
    if job.stop_sequences:
        body["stop"] = list(job.stop_sequences)
    return body


def _raise_error(answer: Mapping[str, Any]) -> None:
    error = answer.get("error")
    if error:
        known = isinstance(error, dict)
        code, message = (error.get("code", 500), error.get("message", "")) if known else (500, str(error))
        raise RequestRefusedError("invalid" if 400 <= code < 500 else "failed", str(message))


def check_file(file: Path) -> None:
    if not file.is_file():
        raise ConfigurationError(f"model file {file} does not exist; get one with: evoline model pull")
    with file.open("rb") as opened:
        if opened.read(len(GGUF_MAGIC)) != GGUF_MAGIC:
            raise ConfigurationError(f"{file} is not a GGUF file; get one with: evoline model pull, or name another")


def check_machine(flags: frozenset[str]) -> None:
    """`flags` as in /proc/cpuinfo; empty where the system does not say."""
    if flags and "avx2" not in flags:
        advice = "set ANTHROPIC_API_KEY or GEMINI_API_KEY, or: evoline model use URL"
        raise ConfigurationError(f"the local model needs a CPU with AVX2 and this one has none; {advice}")


def cpu_flags(file: Path = Path("/proc/cpuinfo")) -> frozenset[str]:
    if not file.is_file():
        return frozenset()
    lines = [line for line in file.read_text("utf-8", errors="replace").splitlines() if line.startswith("flags")]
    return frozenset(lines[0].partition(":")[2].split()) if lines else frozenset()
