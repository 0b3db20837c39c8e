"""Vectors without a model, for tests: the same words give near vectors, meaning counts for nothing."""

import hashlib
import re
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float32]
_WORDS = re.compile(r"\w+")


class HashingEmbedder:
    """Feature hashing of words and letter triples; deterministic on every machine."""

    def __init__(self, dimensions: int = 64, model: str | None = None) -> None:
        self.dimensions = dimensions
        self.model = model or f"hashing-{dimensions}"

    async def ready(self) -> None:
        """Know the dimensions already."""

    async def embed(self, texts: Sequence[str]) -> list[Floats]:
        """Return one vector of unit length per text."""
        return [self._vector(text) for text in texts]

    async def embed_query(self, text: str) -> Floats:
        """Return the vector of one question."""
        return self._vector(text)

    async def close(self) -> None:
        """Hold nothing, so let go of nothing."""

    def _vector(self, text: str) -> Floats:
        vector = np.zeros(self.dimensions, np.float32)
        for word in _WORDS.findall(text.lower()):
            self._add(vector, word, 1.0)
            for start in range(len(word) - 2):
                self._add(vector, word[start : start + 3], 0.3)
        length = float(np.linalg.norm(vector))
        if length == 0.0:
            vector[0] = length = 1.0  # a text without words still needs a direction: cosine of zero is undefined
        return vector / np.float32(length)

    def _add(self, vector: Floats, feature: str, weight: float) -> None:
        digest = int.from_bytes(hashlib.blake2b(feature.encode(), digest_size=8).digest(), "little")
        vector[digest % self.dimensions] += weight if digest >> 63 else -weight
