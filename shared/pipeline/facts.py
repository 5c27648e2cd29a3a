"""What a document uses, without running it: for scopes, policies, risk and estimates."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping

from pydantic import BaseModel, ConfigDict

from shared.pipeline.document import Document, Step
from shared.pipeline.loading import load_document
from shared.pipeline.walk import fallback_steps, kind_of, template_sites, walk

CHARACTERS_PER_TOKEN = 4
"""Rule of thumb of the providers for English text; estimates only."""
DEFAULT_MAX_TOKENS = 512


class DocumentFacts(BaseModel):
    """All names sorted, without repetition. Estimates count neither retries nor what is inserted into prompts."""

    model_config = ConfigDict(frozen=True)

    domain: str
    step_types: tuple[str, ...]
    families: tuple[str, ...]
    """Step families that may be called: `claude`, `gemini`."""
    functions: tuple[str, ...]
    models: tuple[str, ...]
    """Models asked for by name; empty means the families' configured ones."""
    nested: tuple[str, ...]
    """References of nested pipelines, as `name@stable`. Computed ones stand as their template."""
    inputs: tuple[str, ...]
    steps: int
    """Written steps, inner ones counted once."""
    estimated_calls: int
    """Provider calls, loops multiplied by their bound."""
    estimated_tokens: int
    """Prompt characters / 4 plus `max_tokens`, over all calls. Inserted data is not known and not counted."""
    prompt_characters: int


def document_facts(document: Document) -> DocumentFacts:
    """Facts of the document, those of documents written inside it included."""
    steps = [document.effective(step) for step in walk(document.steps)]
    inside = [document_facts(nested) for step in steps for nested in _inline_documents(step)]
    return DocumentFacts(
        domain=document.domain,
        step_types=_sorted([step.type for step in steps], (facts.step_types for facts in inside)),
        families=_sorted([family for step in steps for family in kind_of(step).families], (facts.families for facts in inside)),
        functions=_sorted(
            [name for step in steps for name in kind_of(step).functions(step.options)], (facts.functions for facts in inside)
        ),
        models=_sorted([name for step in steps for name in _models(step)], (facts.models for facts in inside)),
        nested=_sorted(
            [each for step in steps for each in kind_of(step).nested(step.options) if isinstance(each, str)],
            (facts.nested for facts in inside),
        ),
        inputs=tuple(sorted(document.inputs)),
        steps=len(steps) + sum(facts.steps for facts in inside),
        estimated_calls=sum(_calls_of(step) for step in document.steps),
        estimated_tokens=sum(_tokens_of(document, step) for step in document.steps),
        prompt_characters=sum(_prompt_characters(step) for step in steps) + sum(facts.prompt_characters for facts in inside),
    )


def _calls_of(step: Step) -> int:
    """Upper bound of provider calls of one execution of a step."""
    nested = sum(document_facts(document).estimated_calls for document in _inline_documents(step))
    return kind_of(step).max_calls(step.options) + nested + _repeated(step, _calls_of)


def _tokens_of(document: Document, step: Step) -> int:
    step = document.effective(step)
    per_call = _prompt_characters(step) // CHARACTERS_PER_TOKEN + (step.max_tokens or DEFAULT_MAX_TOKENS)
    nested = sum(document_facts(inside).estimated_tokens for inside in _inline_documents(step))
    own = kind_of(step).max_calls(step.options) * per_call
    return own + nested + _repeated(step, lambda inner: _tokens_of(document, inner))


def _repeated(step: Step, measure: Callable[[Step], int]) -> int:
    """A measure of the inner steps, times how often they run, plus that of the fallback."""
    kind = kind_of(step)
    inner = sum(measure(member) for member in kind.inner_steps(step.options))
    return kind.repeats(step.options) * inner + sum(measure(member) for member in fallback_steps(step))


def _inline_documents(step: Step) -> list[Document]:
    return [load_document(each) for each in kind_of(step).nested(step.options) if isinstance(each, Mapping)]


def _prompt_characters(step: Step) -> int:
    return sum(len(site.text) for site in template_sites(step) if site.is_prompt or site.path == ("system",))


def _models(step: Step) -> Iterator[str]:
    if step.model:
        yield step.model
    options = step.options.model_dump(mode="json")
    for key in ("model", "models", "fallback_models", "fallback_model"):
        named = options.get(key)
        if isinstance(named, str) and named:
            yield named
        elif isinstance(named, list):
            yield from (name for name in named if isinstance(name, str))


def _sorted(own: Iterable[str], inside: Iterable[tuple[str, ...]]) -> tuple[str, ...]:
    return tuple(sorted({*own, *(name for names in inside for name in names)}))
