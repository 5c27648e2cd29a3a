"""`Blobs` in memory, held to the object store by `tests/contract/test_blobs.py`."""

from __future__ import annotations

import hashlib

from shared.errors import NotFoundError
from shared.large_values import ValueReference, check_size, damaged


class InMemoryBlobs:
    def __init__(self) -> None:
        self.stored: dict[str, bytes] = {}

    async def store(self, body: bytes) -> ValueReference:
        reference = ValueReference(sha256=hashlib.sha256(body).hexdigest(), bytes=check_size(len(body)))
        self.stored[reference.sha256] = body
        return reference

    async def load(self, reference: ValueReference) -> bytes:
        if reference.sha256 not in self.stored:
            raise NotFoundError(f"value {reference.sha256[:12]} is not stored")
        body = self.stored[reference.sha256]
        if len(body) != reference.bytes or hashlib.sha256(body).hexdigest() != reference.sha256:
            raise damaged(reference)
        return body
