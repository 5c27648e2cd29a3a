"""An executor process of its own whose model is scripted: `python -m tests.executor_process`.

Each call appends `<executor> <prompt>` to the file that `EVOLINE_TEST_CALLS_FILE` names, waits `EVOLINE_TEST_CALL_SECONDS`, and
answers with the prompt."""

from __future__ import annotations

import os
from pathlib import Path

from services.executor.app import create_app
from services.executor.settings import ExecutorSettings
from shared.pipeline.completion import Completion, CompletionRequest
from shared.service import Application, main
from tests.fakes.language_model import ScriptedModel


class LoggingModel(ScriptedModel):
    def __init__(self, calls: Path, delay_seconds: float, name: str) -> None:
        super().__init__(lambda request: request.messages[0].text, delay_seconds)
        self._calls = calls
        self._name = name

    async def complete(self, request: CompletionRequest) -> Completion:
        with self._calls.open("a") as file:
            file.write(f"{self._name} {request.messages[0].text}\n")
        return await super().complete(request)


def create() -> Application:
    own = ExecutorSettings()
    calls, delay = Path(os.environ["EVOLINE_TEST_CALLS_FILE"]), float(os.environ["EVOLINE_TEST_CALL_SECONDS"])
    model = LoggingModel(calls, delay, own.id)
    return create_app(own=own, models={"claude": model, "gemini": model})


if __name__ == "__main__":
    main(create)
