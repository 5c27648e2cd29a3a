"""Seed templates from files, learned ones from the store."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import yaml

from services.generator.adapters.mongo import MongoLearnedTemplates
from services.generator.domain.templates import Template
from shared.errors import ConfigurationError


def seed_templates(folder: Path) -> list[Template]:
    """Every `*.yaml` of the folder. Raises `ConfigurationError` if there is none."""
    files = sorted(folder.glob("*.yaml"))
    if not files:
        raise ConfigurationError(f"no templates in {folder}: set EVOLINE_PIPELINES_DIR to the folder that holds library/ and meta/")
    return [Template(file.stem, f"library:{file.stem}", yaml.safe_load(file.read_text(encoding="utf-8"))) for file in files]


class FileAndStoreLibrary:
    def __init__(self, seeds: Sequence[Template], learned: MongoLearnedTemplates) -> None:
        self._seeds = seeds
        self._learned = learned

    async def templates(self) -> Sequence[Template]:
        return [*self._seeds, *await self._learned.all()]

    async def learn(self, template: Template, digest: str, domain: str) -> None:
        await self._learned.learn(template, digest, domain)

    async def revoke(self, digests: Sequence[str]) -> int:
        return await self._learned.revoke(digests)
