"""
Embeddings: texts in, vectors of unit length out, from one of three engines behind one port.

    local     MiniLM-L6 on this machine (384 d): no key, no network
    openai    any OpenAI-compatible /embeddings endpoint
    hashing   words and letters hashed into a vector: tests only, knows no meaning

The model's name and dimensions stand beside every stored vector, so vectors of two models never meet.
"""

import os
from collections.abc import Sequence
from typing import Any, Literal, Protocol

# Both are read when the libraries load: one thread per call, because the worker pool already fills the cores.
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")

import numpy as np
from numpy.typing import NDArray

from memory.settings import Settings

Floats = NDArray[np.float32]
Engine = Literal["local", "openai", "hashing"]


class Embedder(Protocol):
    """What turns texts into vectors; `model` and `dimensions` say which vectors they are."""

    @property
    def model(self) -> str:
        """The name that is stored beside each vector."""
        ...

    @property
    def dimensions(self) -> int:
        """How many numbers a vector has."""
        ...

    async def ready(self) -> None:
        """Make `dimensions` known; an endpoint is asked once where nobody has said."""
        ...

    async def embed(self, texts: Sequence[str]) -> list[Floats]:
        """Return one vector of unit length per text, in order."""
        ...

    async def embed_query(self, text: str) -> Floats:
        """Return the vector of one question."""
        ...

    async def close(self) -> None:
        """Let go of connections and weights."""
        ...


def open_embedder(engine: Engine = "local", **options: Any) -> Embedder:
    """
    Return the engine of that name; `options` go to its constructor (`openai` takes base_url, api_key, model ...).

    Raises `WeightsMissing` for `local` without its weights.
    """
    match engine:
        case "local":
            from memory.embeddings.minilm import MiniLM

            return MiniLM(**options)
        case "openai":
            from memory.embeddings.compatible import CompatibleEmbedder

            return CompatibleEmbedder(**options)
        case "hashing":
            from memory.embeddings.hashing import HashingEmbedder

            return HashingEmbedder(**options)


def from_settings(settings: Settings) -> Embedder:
    """
    Return the engine that the settings name; model and dimensions left alone are those of the engine.

    Raises `WeightsMissing`.
    """
    told = settings.model_fields_set
    named = {"model": settings.embedding_model} if "embedding_model" in told else {}
    sized = {"dimensions": settings.embedding_dimensions} if "embedding_dimensions" in told else {}
    match settings.embedding_engine:
        case "local":
            return open_embedder("local")
        case "hashing":
            return open_embedder("hashing", **named, **sized)
        case "openai":
            return open_embedder("openai", **named, **sized, **_endpoint(settings))


def by_name(model: str, dimensions: int, settings: Settings) -> Embedder:
    """
    Return the engine whose vectors are stored under this name, whatever the settings choose now.

    Raises `WeightsMissing`.
    """
    if model == "all-MiniLM-L6-v2":
        return open_embedder("local")
    if model.startswith("hashing-"):
        return open_embedder("hashing", dimensions=dimensions, model=model)
    return open_embedder("openai", model=model.partition("@")[0], dimensions=dimensions, **_endpoint(settings))


def _endpoint(settings: Settings) -> dict[str, Any]:
    key = settings.openai_api_key.get_secret_value() if settings.openai_api_key else ""
    return {"api_key": key} | ({"base_url": settings.openai_base_url} if settings.openai_base_url else {})


__all__ = ["Embedder", "Engine", "Floats", "by_name", "from_settings", "open_embedder"]
