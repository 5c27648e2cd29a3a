"""What something was made from: with it, whatever descends from it goes out of use."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict, Field


class Record(BaseModel):
    model_config = ConfigDict(frozen=True, extra="ignore")


class Descended(Record):
    """A change, or a revision that came of one."""

    parent_digest: str | None = None
    origins: tuple[str, ...] = Field(default=(), exclude_if=lambda origins: not origins)
    """Digests of everything else that it was made from; left out where there is nothing."""

    @property
    def ancestry(self) -> tuple[str, ...]:
        """The digests that it was made from directly."""
        return (*((self.parent_digest,) if self.parent_digest else ()), *self.origins)
