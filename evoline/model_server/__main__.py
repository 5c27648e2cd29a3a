"""`python -m evoline.model_server --model FILE.gguf --port 8089`"""

from __future__ import annotations

import argparse
import logging
import signal
import sys
from collections.abc import Sequence
from pathlib import Path
from types import FrameType

import uvicorn

from evoline.model_server.app import ModelServer, ServerOptions, create_app
from evoline.model_server.engine import EngineOptions, LlamaEngine, check_file, check_machine, cpu_flags
from shared.errors import ConfigurationError

EXIT_CONFIGURATION = 2
GRACE_SECONDS = 5


class _Server(uvicorn.Server):
    """On SIGTERM and SIGINT running generations end at once: waiting for them would take as long as they take."""

    def __init__(self, config: uvicorn.Config, model_server: ModelServer) -> None:
        super().__init__(config)
        self._model_server = model_server

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        self._model_server.abandon_all()
        super().handle_exit(sig, frame)


def main(arguments: Sequence[str] | None = None) -> int:
    options = _parser().parse_args(arguments)
    logging.basicConfig(stream=sys.stderr, level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s %(message)s")
    try:
        check_machine(cpu_flags())
        check_file(options.model)
        _serve(options)
    except ConfigurationError as error:
        sys.stderr.write(f"error: {error}\n")
        return EXIT_CONFIGURATION
    return 0


def _serve(options: argparse.Namespace) -> None:
    """Until SIGTERM. Raises `ConfigurationError` when the model cannot be opened or the port cannot be had."""
    engine_options = EngineOptions(
        file=options.model,
        slots=options.slots,
        context_tokens=options.context,
        decode_threads=options.decode_threads,
        prompt_threads=options.prompt_threads,
    )
    server = ModelServer(
        lambda: LlamaEngine(engine_options), ServerOptions(options.name or options.model.stem, options.max_waiting)
    )

    def stop() -> None:
        web.should_exit = True

    config = uvicorn.Config(
        create_app(server, stop),
        host=options.host,
        port=options.port,
        log_level="warning",
        access_log=False,
        server_header=False,
        timeout_graceful_shutdown=GRACE_SECONDS,
    )
    web = _Server(config, server)
    for number in (signal.SIGINT, signal.SIGTERM):
        # uvicorn raises the signal once more when all is closed, into the handler that it found: being asked to stop is no failure.
        signal.signal(number, lambda *_: None)
    web.run()
    if server.failure:
        raise ConfigurationError(str(server.failure)) from server.failure


def _parser() -> argparse.ArgumentParser:
    defaults = EngineOptions(Path())
    parser = argparse.ArgumentParser(prog="python -m evoline.model_server", description="Serves a GGUF file to both SDKs.")
    parser.add_argument("--model", type=Path, required=True, help="a GGUF file")
    parser.add_argument("--name", default="", help="the model's name in answers (default: the file's)")
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=8089)
    parser.add_argument("--slots", type=int, default=defaults.slots, help="generations side by side")
    parser.add_argument("--context", type=int, default=defaults.context_tokens, help="tokens of prompt and answer in one slot")
    parser.add_argument("--max-waiting", type=int, default=ServerOptions.max_waiting, help="calls that may wait for a slot")
    parser.add_argument("--decode-threads", type=int, default=defaults.decode_threads)
    parser.add_argument("--prompt-threads", type=int, default=defaults.prompt_threads)
    return parser


if __name__ == "__main__":
    sys.exit(main())
