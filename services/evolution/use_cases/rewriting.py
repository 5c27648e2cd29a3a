"""The reflective rewrite as a run under the evolution's scope: bounded in number, remembered, and allowed to fail."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from services.evolution.use_cases.bound import Evolution
from shared.errors import FrozenError
from shared.events.message import derive_id
from shared.events.runs import ExecuteRun
from shared.events.values import GrantedScope
from shared.search.operators.rewrite import rewriting_document


class ModelRewriter:
    """Counts rewrites by key in order of first use, so a repeated search gets the same ones."""

    def __init__(self, evolution_id: str, scope: GrantedScope, at: Evolution, seed: int) -> None:
        self._evolution_id = evolution_id
        self._scope = scope
        self._at = at
        self._seed = seed
        self._used: set[str] = set()
        self._useless: set[str] = set()

    async def __call__(self, inputs: Mapping[str, Any], key: str) -> str | None:
        """None where the number is used up or the model gave nothing usable. Raises `FrozenError` where a freeze stopped it."""
        if key not in self._used and len(self._used) >= self._at.rewrites:
            return None
        self._used.add(key)
        run_id = derive_id(self._evolution_id, f"rewrite:{key}:{self._seed}")
        known = await self._at.cache.rewrite(run_id)
        text = _text(known.get("text")) if known is not None else await self._ask(inputs, run_id)
        if known is None:
            await self._at.cache.keep_rewrite(run_id, text)
        if text is None or not text.strip():
            self._useless.add(key)
        return text

    def told(self) -> tuple[str, ...]:
        """For whoever reads why a search ended as it did."""
        if not self._useless:
            return ()
        return (f"the model gave no usable rewrite {len(self._useless)} of {len(self._used)} times; the other operators went on",)

    async def _ask(self, inputs: Mapping[str, Any], run_id: str) -> str | None:
        command = ExecuteRun(
            run_id=run_id,
            inputs=dict(inputs),
            document=rewriting_document(self._scope.scope.domain),
            scope=self._scope,
            purpose="meta",
            group_id=self._evolution_id,
            seed=self._seed,
        )
        finished = await self._at.runs.run_all([command], max_in_flight=1, deadline_seconds=self._at.run_seconds)
        run = finished.get(run_id)
        if run is not None and run.error_code == FrozenError.code:
            # Says nothing about the model, so it must not be remembered as its failure.
            raise FrozenError(run.error)
        usable = run is not None and run.status == "succeeded" and isinstance(run.outputs, Mapping)
        return _text(run.outputs.get("instruction")) if run is not None and usable else None


def _text(value: Any) -> str | None:
    return value if isinstance(value, str) else None
