"""Settings -> one model for each step family."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from pydantic import SecretStr

from shared.llm.cassette import RecordingModel, ReplayingModel, TapeWriter, chosen_cassette, is_replay, read_tape
from shared.llm.endpoint import LOCAL_MODEL, Endpoint
from shared.llm.on_demand import Build, ModelOnDemand
from shared.llm.prices import LOCAL_PROVIDER, PriceTable
from shared.pipeline.completion import CompletionRequest, Family, LanguageModel
from shared.settings import ProviderSettings


def build_models(settings: ProviderSettings, answer_tokens: int | None = None) -> Mapping[Family, ModelOnDemand]:
    """With a key the provider itself, without one the local model server through the same SDK, loaded at the first call.

    With a cassette they record, or are not loaded at all. `answer_tokens`: what requests ask for where nobody says it; a
    recording tells it. Raises `ConfigurationError` or `InvalidInputError` for a bad one."""
    prices = PriceTable.load()

    def claude() -> LanguageModel:
        from shared.llm.anthropic import AnthropicModel

        return AnthropicModel(claude_endpoint(settings), prices)

    def gemini() -> LanguageModel:
        from shared.llm.gemini import GeminiModel

        return GeminiModel(gemini_endpoint(settings), prices)

    taped = _taping(settings, answer_tokens)
    return {"claude": ModelOnDemand(taped(claude)), "gemini": ModelOnDemand(taped(gemini))}


def _taping(settings: ProviderSettings, answer_tokens: int | None) -> Callable[[Build], Build]:
    """What a cassette makes of whatever builds a model."""
    choice = chosen_cassette(settings.cassette)
    if choice is None:
        return lambda build: build
    secrets = [settings.anthropic_api_key.get_secret_value(), settings.gemini_api_key.get_secret_value()]
    if choice.mode == "record":
        writer = TapeWriter(choice.file, secrets, answer_tokens=answer_tokens)
        return lambda build: lambda: RecordingModel(build(), writer)
    replaying = ReplayingModel(read_tape(choice.file), secrets)
    return lambda build: lambda: replaying


def recorded_answer_tokens(settings: ProviderSettings) -> int | None:
    """What the requests of the cassette that answers now asked for where nobody said it; None without one."""
    choice = chosen_cassette(settings.cassette)
    return read_tape(choice.file).answer_tokens if choice and choice.mode == "replay" else None


def providers_of(settings: ProviderSettings) -> Mapping[str, str]:
    """Family -> who serves it, as answers name it."""
    return {
        "claude": "local" if claude_endpoint(settings).is_local else "anthropic",
        "gemini": "local" if gemini_endpoint(settings).is_local else "google",
    }


def sent_to(settings: ProviderSettings, request: CompletionRequest) -> tuple[str, str]:
    """Provider and model that a request goes to; the answer says who served it. A cassette has no limits."""
    if is_replay(settings.cassette):
        return "cassette", request.model or ""
    endpoint = claude_endpoint(settings) if request.family == "claude" else gemini_endpoint(settings)
    provider = "anthropic" if request.family == "claude" else "google"
    return LOCAL_PROVIDER if endpoint.is_local else provider, endpoint.model_for(request.model)


def claude_endpoint(settings: ProviderSettings) -> Endpoint:
    return _endpoint(settings, settings.anthropic_api_key, settings.claude_base_url, settings.claude_model)


def gemini_endpoint(settings: ProviderSettings) -> Endpoint:
    return _endpoint(settings, settings.gemini_api_key, settings.gemini_base_url, settings.gemini_model)


def _endpoint(settings: ProviderSettings, key: SecretStr, base_url: str, model: str) -> Endpoint:
    if key.get_secret_value():
        return Endpoint(model, key, base_url)
    # A keyless endpoint of the user's own serves the model that settings name; our local server has just one.
    return Endpoint(model if base_url else LOCAL_MODEL, base_url=base_url or settings.local_model_url)
