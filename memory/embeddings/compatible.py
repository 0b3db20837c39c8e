"""Embeddings from an OpenAI-compatible endpoint: OpenAI, Azure's v1 address, vLLM, Ollama, llama.cpp, TEI."""

import asyncio
import random
from collections.abc import Awaitable, Callable, Iterator, Sequence
from itertools import pairwise
from typing import Any

import httpx
import numpy as np
import orjson
from numpy.typing import NDArray
from pydantic import BaseModel, ValidationError

from memory import tokens
from memory.errors import BadGateway, Outage

Floats = NDArray[np.float32]

_DIMENSIONS = {"text-embedding-3-small": 1536, "text-embedding-3-large": 3072, "text-embedding-ada-002": 1536}
_INPUTS_AT_ONCE = 128
_TOKENS_AT_ONCE = 100_000
_TOKENS_EACH = 8_000
_RETRIED = frozenset({408, 409, 425, 429, 500, 502, 503, 504})
_LONGEST_PAUSE = 30.0


class EmbeddingsDown(Outage):
    """The embedding service does not answer now: {reason}."""


class EmbeddingsWrong(BadGateway):
    """The embedding service answered wrongly: {reason}."""


class DimensionsUnknown(Outage):
    """How many dimensions {model} has is not known: set them, or wait for ready()."""


class _Item(BaseModel):
    index: int
    embedding: list[float]


class _Answer(BaseModel):
    data: list[_Item]


class CompatibleEmbedder:
    """One endpoint and one model; texts go in batches, refusals for load are tried again with a growing pause."""

    def __init__(
        self,
        *,
        model: str = "text-embedding-3-small",
        base_url: str = "https://api.openai.com/v1",
        api_key: str = "",
        dimensions: int | None = None,
        timeout: float = 30.0,
        attempts: int = 4,
        pause: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        """
        Ask `model` at `base_url`; `dimensions` asks OpenAI's third generation for shorter vectors, and is checked.

        A model whose dimensions are not known here must be asked once with `ready`.
        """
        natural = _DIMENSIONS.get(model)
        shortened = model.startswith("text-embedding-3") and dimensions not in (None, natural)
        # Shortened vectors are another model's: they never meet those of full length.
        self.model = f"{model}@{dimensions}" if shortened else model
        self._asked_model = model
        self._asked_dimensions = dimensions if shortened else None
        self._dimensions = dimensions or natural
        self._attempts = attempts
        self._pause = pause
        self._client = httpx.AsyncClient(
            base_url=base_url.rstrip("/") + "/",
            headers={"Content-Type": "application/json"} | ({"Authorization": f"Bearer {api_key}"} if api_key else {}),
            timeout=httpx.Timeout(timeout, connect=min(timeout, 10.0)),
        )

    @property
    def dimensions(self) -> int:
        """
        How many numbers a vector of the model has.

        Raises `DimensionsUnknown`.
        """
        if self._dimensions is None:
            raise DimensionsUnknown(model=self.model)
        return self._dimensions

    async def ready(self) -> None:
        """
        Make `dimensions` known: ask the endpoint for one vector if nobody has said how long it is.

        Raises `EmbeddingsDown`, `EmbeddingsWrong`.
        """
        if self._dimensions is None:
            self._dimensions = len((await self._ask(["dimensions"]))[0])

    async def embed(self, texts: Sequence[str]) -> list[Floats]:
        """
        Return one vector of unit length per text, in order; a text beyond 8,000 tokens is read to there.

        Raises `EmbeddingsDown`, `EmbeddingsWrong`.
        """
        vectors: list[Floats] = []
        # An empty input is refused by OpenAI; a space means the same and is not.
        capped = [tokens.cap(text, _TOKENS_EACH, self._asked_model) or " " for text in texts]
        for batch in _batches(capped, self._asked_model):
            for vector in await self._ask(batch):
                if self._dimensions not in (None, len(vector)):
                    raise EmbeddingsWrong(reason=f"{len(vector)} dimensions instead of {self._dimensions}")
                vectors.append(vector)
        return vectors

    async def embed_query(self, text: str) -> Floats:
        """
        Return the vector of one question.

        Raises `EmbeddingsDown`, `EmbeddingsWrong`.
        """
        return (await self.embed([text]))[0]

    async def close(self) -> None:
        """Close the connections."""
        await self._client.aclose()

    async def _ask(self, batch: Sequence[str]) -> list[Floats]:
        body: dict[str, Any] = {"model": self._asked_model, "input": list(batch), "encoding_format": "float"}
        if self._asked_dimensions:
            body["dimensions"] = self._asked_dimensions
        response = await self._post(orjson.dumps(body, option=orjson.OPT_NON_STR_KEYS))
        try:
            items = _Answer.model_validate(orjson.loads(response.content)).data
        except (ValidationError, orjson.JSONDecodeError) as failure:
            raise EmbeddingsWrong(reason="not a list of embeddings") from failure
        if sorted(item.index for item in items) != list(range(len(batch))):
            raise EmbeddingsWrong(reason=f"{len(items)} embeddings for {len(batch)} texts")
        items.sort(key=lambda item: item.index)
        return [_unit(item.embedding) for item in items]

    async def _post(self, body: bytes) -> httpx.Response:
        for attempt in range(1, self._attempts + 1):
            pause = min(_LONGEST_PAUSE, 0.5 * 2 ** (attempt - 1) * random.uniform(1, 2))  # noqa: S311 - spreads retries
            try:
                response = await self._client.post("embeddings", content=body)
            except httpx.TransportError as failure:
                reason = type(failure).__name__
            else:
                if response.is_success:
                    return response
                reason = f"status {response.status_code}"
                if response.status_code not in _RETRIED:
                    raise EmbeddingsWrong(reason=reason)
                pause = _told_pause(response) or pause
            if attempt == self._attempts:
                raise EmbeddingsDown(reason=reason)
            await self._pause(pause)
        raise EmbeddingsDown(reason="no attempt is allowed")


def _told_pause(response: httpx.Response) -> float | None:
    """Return the seconds that a `Retry-After` header asks for, within reason."""
    told = response.headers.get("retry-after", "")
    try:
        return min(_LONGEST_PAUSE, max(0.0, float(told)))
    except ValueError:
        return None


def _batches(texts: Sequence[str], model: str) -> Iterator[Sequence[str]]:
    cuts, filled = [0], 0
    for index, text in enumerate(texts):
        size = tokens.count(text, model)
        if index - cuts[-1] >= _INPUTS_AT_ONCE or (filled + size > _TOKENS_AT_ONCE and index > cuts[-1]):
            cuts.append(index)
            filled = 0
        filled += size
    cuts.append(len(texts))
    return (texts[start:end] for start, end in pairwise(cuts) if end > start)


def _unit(numbers: Sequence[float]) -> Floats:
    vector = np.asarray(numbers, np.float32)
    length = float(np.linalg.norm(vector))
    if vector.size == 0 or not np.isfinite(length) or length == 0.0:
        raise EmbeddingsWrong(reason="a vector without a direction")
    return vector / np.float32(length)
