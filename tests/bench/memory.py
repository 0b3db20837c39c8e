"""
Vector memory at 100,000 rows of the default dimension: how much is found, how fast, and whether hybrid search pays.

The rows are made as texts about the same matters are: real embeddings of the corpus in questions.yaml are the topics,
each with its own few directions of variation. Truth is numpy's brute force over full precision. The bare limit beside
our figures is the plainest statement that does the same, on a connection of its own, in the same interleaved run.
"""

import asyncio
import re
import sys
import tempfile
import time
import uuid
from collections.abc import AsyncIterator, Awaitable, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar
from uuid import UUID

import numpy as np
import psycopg
import yaml
from numpy.typing import NDArray
from psycopg import sql

from memory import embedded, migrate, vectors
from memory.db import Database, Tx
from memory.embeddings import Embedder, Floats, open_embedder
from memory.vectors.chunks import as_text
from memory.vectors.models import index_name
from memory.vectors.search import EF_SEARCH

T = TypeVar("T")
ROWS = 100_000
COMPANIES = 1_000
USERS = 20
QUERIES = 400
K = 10
CORPUS = Path(__file__).parent / "questions.yaml"
Matrix = NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class Figure:
    """One line of the table: ours, the bare limit beside it, and what it has to be."""

    name: str
    ours: float
    unit: str
    bare: float | None = None
    goal: str = ""
    met: bool | None = None


def measure(rows: int = ROWS) -> list[Figure]:
    """Measure everything on a private Postgres; takes about three minutes on two cores."""
    return asyncio.run(_measure(rows))


async def _measure(rows: int) -> list[Figure]:
    embedder = open_embedder("local")
    figures = await measure_embedding(embedder)
    with _postgres() as url:
        async with _database(url, "questions") as db:
            figures += await measure_questions(db, embedder)
        async with _database(url, "rows") as db:
            world = await World.make(embedder, rows)
            figures += await world.load(db)
            figures += await world.measure_wide(db)
            figures += await world.measure_narrow(db)
            figures += await world.measure_reader(db)
            figures += await world.measure_hybrid(db)
            figures += await world.measure_writing(db, embedder)
    await embedder.close()
    return figures


@asynccontextmanager
async def _database(url: str, name: str) -> AsyncIterator[Database]:
    async with await psycopg.AsyncConnection.connect(url, autocommit=True) as connection:
        await connection.execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(name)))
    own = f"{url.rpartition('/')[0]}/{name}"
    await migrate.migrate(own)
    db = await Database.open(own, size=3)
    try:
        yield db
    finally:
        await db.close()


@contextmanager
def _postgres() -> Iterator[str]:
    """Serve a private Postgres with the settings it is shipped with."""
    with tempfile.TemporaryDirectory(prefix="rainmaker-bench-", ignore_cleanup_errors=True) as folder:
        Path(folder).chmod(0o755)  # the server may run as another user
        with embedded.serving(Path(folder)) as url:
            yield url


# The questions ------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Scores:
    """How well one way of searching answers the questions: shares of 1."""

    first: float
    in_five: float
    reciprocal_rank: float


async def measure_questions(db: Database, embedder: Embedder) -> list[Figure]:
    """Ask the hundred questions by meaning, by words and by both."""
    scores = await score_questions(db, embedder)
    meaning, words, hybrid = scores["meaning"], scores["words"], scores["hybrid"]
    figures: list[Figure] = []
    for name, label in (("first", "R@1"), ("in_five", "R@5"), ("reciprocal_rank", "MRR")):
        better: float = max(getattr(meaning, name), getattr(words, name))
        ours: float = getattr(hybrid, name)
        parts = f"meaning {getattr(meaning, name):.3f}, words {getattr(words, name):.3f}"
        figures.append(
            Figure(f"hybrid {label} ({parts})", ours, "", better, "not below the better part", ours >= better)
        )
    return figures


async def score_questions(db: Database, embedder: Embedder) -> dict[str, Scores]:
    """Return the scores of searching by `meaning`, by `words` and `hybrid`, over the whole corpus."""
    corpus: dict[str, list[dict[str, Any]]] = yaml.safe_load(CORPUS.read_text())
    ids = {text["id"]: uuid.uuid5(uuid.NAMESPACE_URL, text["id"]) for text in corpus["documents"]}
    await vectors.prepare(db, embedder)
    async with db.transaction() as tx:
        sources = [
            vectors.Source(text["source"], ids[text["id"]], text["text"], title=text["title"])
            for text in corpus["documents"]
        ]
        await vectors.write_sources(tx, sources)
    await embed_pending(db, embedder)
    found: dict[str, list[int | None]] = {"meaning": [], "words": [], "hybrid": []}
    for asked in corpus["questions"]:
        right = {ids[answer] for answer in asked["answers"]}
        question = await vectors.ask(asked["ask"], embedder)
        async with db.reading() as tx:
            for way, ranked in (await _rank_each_way(tx, question)).items():
                found[way].append(next((place for place, one in enumerate(ranked) if one in right), None))
    return {way: _scores(places) for way, places in found.items()}


async def _rank_each_way(tx: Tx, question: vectors.Question) -> dict[str, list[UUID]]:
    scope = vectors.Scope(None)
    near = await vectors.search_meaning(tx, question, scope)
    return {
        "meaning": await tx.many(
            UUID,
            "SELECT c.source_id FROM unnest(%(ids)s::uuid[]) WITH ORDINALITY AS given (id, place)"
            " JOIN knowledge_chunks c USING (id) ORDER BY place",
            ids=[chunk_id for chunk_id, _ in near],
        ),
        "words": [hit.source_id for hit in await vectors.search(tx, vectors.Question(question.text), scope, limit=50)],
        "hybrid": [hit.source_id for hit in await vectors.search(tx, question, scope, limit=50)],
    }


def _scores(places: Sequence[int | None]) -> Scores:
    met = [place for place in places if place is not None]
    return Scores(
        first=sum(place == 0 for place in met) / len(places),
        in_five=sum(place < 5 for place in met) / len(places),
        reciprocal_rank=sum(1 / (place + 1) for place in met) / len(places),
    )


async def embed_pending(db: Database, embedder: Embedder) -> int:
    """Give every waiting chunk its vector, as the job does."""
    embedded_chunks = 0
    while True:
        async with db.transaction() as tx:
            claimed = await vectors.claim_pending(tx, embedder.model)
        if not claimed:
            return embedded_chunks
        made = await embedder.embed([row.text for row in claimed])
        async with db.transaction() as tx:
            embedded_chunks += await vectors.store_vectors(tx, claimed, made)


# Embedding ----------------------------------------------------------------------------------------------------------


async def measure_embedding(embedder: Embedder) -> list[Figure]:
    """Time the local model on short and full chunks and on one question."""
    await embedder.embed(["warm"])
    short = [f"The forklift order number {number} has been shipped this morning." for number in range(256)]
    full = ["We would renew the contract for two years if the discount still stands. " * 13 + str(n) for n in range(48)]
    questions = [f"what did they say about the discount for seat {number}" for number in range(40)]
    seconds: list[float] = []
    for text in questions:
        began = time.perf_counter()
        await embedder.embed_query(text)
        seconds.append(time.perf_counter() - began)
    return [
        Figure("embed short texts", len(short) / await _took(embedder.embed(short)), "texts/s"),
        Figure("embed full chunks (200 tokens)", len(full) / await _took(embedder.embed(full)), "texts/s"),
        Figure("embed a question, p50", _ms(seconds, 50), "ms"),
    ]


async def _took(work: Any) -> float:
    began = time.perf_counter()
    await work
    return time.perf_counter() - began


def _ms(seconds: Sequence[float], percentile: float) -> float:
    return float(np.percentile(np.asarray(seconds), percentile)) * 1000


class Costs:
    """What questions cost: seconds waited, and seconds of processor here and in the backend that answered."""

    def __init__(self) -> None:
        self.waited: list[float] = []
        self.worked: list[float] = []

    async def of(self, connection: psycopg.AsyncConnection[Any], work: Awaitable[T]) -> T:
        """Carry out the work and note what it cost."""
        backend = Path(f"/proc/{connection.info.backend_pid}/schedstat")
        before = time.perf_counter(), time.process_time() + _processor(backend)
        done = await work
        self.waited.append(time.perf_counter() - before[0])
        self.worked.append(time.process_time() + _processor(backend) - before[1])
        return done


def _processor(schedstat: Path) -> float:
    """Return the seconds of processor that a process has had; 0 where the kernel does not tell."""
    try:
        return int(schedstat.read_text().split()[0]) / 1e9
    except OSError:
        return 0.0


# The rows -----------------------------------------------------------------------------------------------------------


@dataclass
class World:
    """A workspace of many companies: its chunks' vectors, texts, companies and owners."""

    points: Matrix
    texts: list[str]
    company: NDArray[np.int64]
    owner: NDArray[np.int64]
    asked: Matrix
    questions: list[str]
    ids: list[UUID]
    model: str
    companies: list[UUID]
    users: list[UUID]

    @classmethod
    async def make(cls, embedder: Embedder, rows: int, seed: int = 11) -> "World":
        """Draw the rows around real embeddings; a tenth of them is everybody's, the rest one of twenty owners'."""
        dice = np.random.default_rng(seed)
        corpus: dict[str, list[dict[str, Any]]] = yaml.safe_load(CORPUS.read_text())
        sentences = [part for text in corpus["documents"] for part in re.split(r"(?<=[.?!])\s+", text["text"])]
        real = np.stack(await embedder.embed(sentences))
        drawn, topics = _draw(dice, real, rows + QUERIES)
        words = [f"term{number}" for number in range(30_000)]
        ranks = np.minimum(dice.zipf(1.2, size=(rows, 8)), len(words)) - 1
        return cls(
            points=drawn[:rows],
            texts=[
                f"{sentences[topic % len(sentences)]} {' '.join(words[rank] for rank in line)}"
                for topic, line in zip(topics[:rows], ranks, strict=True)
            ],
            company=dice.choice(COMPANIES, rows, p=_shares(COMPANIES)),
            owner=np.where(dice.random(rows) < 0.1, -1, dice.integers(0, USERS, rows)),
            asked=drawn[rows:],
            questions=[sentences[topic % len(sentences)] for topic in topics[rows:]],
            ids=[uuid.uuid4() for _ in range(rows)],
            model=embedder.model,
            companies=[],
            users=[],
        )

    async def load(self, db: Database) -> list[Figure]:
        """Write the rows with COPY and build the index over them."""
        dimensions = self.points.shape[1]
        async with db.transaction() as tx:
            await vectors.adopt(tx, self.model, dimensions)
            self.companies = [await _company(tx, number) for number in range(COMPANIES)]
            self.users = [await _user(tx, number) for number in range(USERS)]
            await tx.copy(
                "knowledge_sources",
                ["source_type", "source_id", "text_hash", "chunks", "indexed_at"],
                (("note", row_id, "-", 1, tx.now) for row_id in self.ids),
            )
            copying = tx.copy(
                "knowledge_chunks",
                ["id", "source_type", "source_id", "chunk_index", "company_id", "owner_user_id", "content",
                 "content_hash", "embedding_model", "dimensions", "embedding", "occurred_at"],
                self._rows(dimensions, tx.now),
            )  # fmt: skip
            copied = await _took(copying)
        indexing = await _took(vectors.ensure_index(db, self.model, dimensions))
        async with db.reading() as tx:
            await tx.run("VACUUM ANALYZE knowledge_chunks")
            size = await tx.one(int, "SELECT pg_relation_size(to_regclass(%(name)s))", name=index_name(self.model))
        return [
            Figure(f"copy {len(self.ids):,} rows, text index included", len(self.ids) / copied, "rows/s"),
            Figure("build the HNSW index", indexing, "s"),
            Figure("size of the HNSW index", size / 2**20, "MB"),
        ]

    def _rows(self, dimensions: int, moment: Any) -> Iterator[tuple[Any, ...]]:
        for number, row_id in enumerate(self.ids):
            owner = int(self.owner[number])
            yield (
                row_id, "note", row_id, 0, self.companies[int(self.company[number])],
                None if owner < 0 else self.users[owner], self.texts[number], "-", self.model, dimensions,
                as_text(self.points[number]), moment,
            )  # fmt: skip

    def _question(self, number: int) -> vectors.Question:
        return vectors.Question(self.questions[number], self.model, self.asked[number])

    def _truth(self, number: int, among: NDArray[np.int64] | None = None) -> set[UUID]:
        points = self.points if among is None else self.points[among]
        best = np.argsort(-(points @ self.asked[number]), kind="stable")[:K]
        return {self.ids[int(place if among is None else among[place])] for place in best}

    async def measure_wide(self, db: Database) -> list[Figure]:
        """Ask the whole workspace, interleaved with the plainest statement on the same index."""
        hits, ours, bare, exact = 0, Costs(), Costs(), list[float]()
        async with db.reading() as tx, await psycopg.AsyncConnection.connect(db.url, autocommit=True) as plain:
            await plain.execute(f"SET hnsw.ef_search = {EF_SEARCH}".encode())
            for number in range(QUERIES):
                asking = vectors.search_meaning(tx, self._question(number), vectors.Scope(None), depth=K)
                near = await ours.of(tx.connection, asking)
                await bare.of(plain, _bare(plain, self.asked[number]))
                hits += len({chunk_id for chunk_id, _ in near} & self._truth(number))
                if number % 40 == 0:
                    exact.append(await _took(_brute(plain, self.asked[number])))
        recall, p99 = hits / (K * QUERIES), _ms(ours.waited, 99)
        return [
            Figure(f"workspace of {len(self.ids):,}: recall@10", recall, "", goal=">= .99", met=recall >= 0.99),
            Figure("workspace: p50", _ms(ours.waited, 50), "ms", _ms(bare.waited, 50)),
            Figure("workspace: p99", p99, "ms", _ms(bare.waited, 99), "<= 15 ms", p99 <= 15),
            Figure("workspace: processor, Postgres included, p50", _ms(ours.worked, 50), "ms", _ms(bare.worked, 50)),
            Figure("workspace: processor, Postgres included, p99", _ms(ours.worked, 99), "ms", _ms(bare.worked, 99)),
            Figure("workspace without the index: p50", _ms(exact, 50), "ms"),
        ]

    async def measure_narrow(self, db: Database) -> list[Figure]:
        """Ask within one company, large and small ones in turn."""
        hits, wanted, ours, largest = 0, 0, list[float](), 0
        async with db.reading() as tx:
            for number in range(QUERIES):
                company = (number % 40) if number % 2 else int(self.company[number])
                among = np.flatnonzero(self.company == company)
                largest = max(largest, len(among))
                scope = vectors.Scope(None, company_id=self.companies[company])
                began = time.perf_counter()
                near = await vectors.search_meaning(tx, self._question(number), scope, depth=K)
                ours.append(time.perf_counter() - began)
                truth = self._truth(number, among)
                hits += len({chunk_id for chunk_id, _ in near} & truth)
                wanted += len(truth)
        recall = hits / wanted
        return [
            Figure("one company: recall@10", recall, "", goal="1.0", met=recall == 1),
            Figure("one company: p50", _ms(ours, 50), "ms"),
            Figure(f"one company (up to {largest:,} rows): p99", _ms(ours, 99), "ms"),
        ]

    async def measure_reader(self, db: Database) -> list[Figure]:
        """Ask the whole workspace as a rep, who may read a seventh of it."""
        hits, ours = 0, list[float]()
        async with db.reading() as tx:
            for number in range(QUERIES):
                reader = number % USERS
                among = np.flatnonzero((self.owner == reader) | (self.owner == -1))
                began = time.perf_counter()
                near = await vectors.search_meaning(
                    tx, self._question(number), vectors.Scope(self.users[reader]), depth=K
                )
                ours.append(time.perf_counter() - began)
                hits += len({chunk_id for chunk_id, _ in near} & self._truth(number, among))
        recall = hits / (K * QUERIES)
        return [
            Figure("workspace as a rep: recall@10", recall, "", goal=">= .99", met=recall >= 0.99),
            Figure("workspace as a rep: p99", _ms(ours, 99), "ms"),
        ]

    async def measure_hybrid(self, db: Database) -> list[Figure]:
        """Ask by meaning and words together, texts fetched."""
        wide, narrow = list[float](), list[float]()
        async with db.reading() as tx:
            for number in range(QUERIES):
                question = self._question(number)
                wide.append(await _took(vectors.search(tx, question, vectors.Scope(None))))
                scope = vectors.Scope(None, company_id=self.companies[number % 40])
                narrow.append(await _took(vectors.search(tx, question, scope)))
        return [
            Figure("hybrid search of the workspace: p50", _ms(wide, 50), "ms"),
            Figure("hybrid search of the workspace: p99", _ms(wide, 99), "ms"),
            Figure("hybrid search of one company: p50", _ms(narrow, 50), "ms"),
            Figure("hybrid search of one company: p99", _ms(narrow, 99), "ms"),
        ]

    async def measure_writing(self, db: Database, embedder: Embedder, texts: int = 2_000) -> list[Figure]:
        """Write new texts beside the 100,000: cut, hashed, indexed for words; then their vectors into the index."""
        sources = [
            vectors.Source("note", uuid.uuid4(), f"{self.texts[number]} {number}", company_id=self.companies[0])
            for number in range(texts)
        ]
        async with db.transaction() as tx:
            written = await _took(vectors.write_sources(tx, sources))
        async with db.transaction() as tx:
            claimed = await vectors.claim_pending(tx, embedder.model, limit=texts)
        made = list(self.asked[np.arange(texts) % QUERIES])
        began = time.perf_counter()
        for start in range(0, texts, 64):
            async with db.transaction() as tx:
                await vectors.store_vectors(tx, claimed[start : start + 64], made[start : start + 64])
        stored = time.perf_counter() - began
        return [
            Figure("write texts (cut, hash, index words)", texts / written, "texts/s"),
            Figure("store vectors into the standing index", texts / stored, "vectors/s"),
        ]


def _shares(companies: int) -> NDArray[np.float64]:
    """Return how the chunks are shared out: the largest company has thirty times what the smallest has."""
    weights = (np.arange(companies) + 15.0) ** -0.8
    return weights / weights.sum()


def _draw(dice: np.random.Generator, real: Matrix, rows: int) -> tuple[Matrix, NDArray[np.int64]]:
    """Draw unit vectors around real ones and their mixtures; every topic varies along sixteen directions of its own."""
    topics = len(real) * 4
    mixed = np.concatenate([real, *(real + real[dice.permutation(len(real))] for _ in range(3))])
    mixed /= np.linalg.norm(mixed, axis=1, keepdims=True)
    directions = dice.normal(size=(topics, 16, real.shape[1])).astype(np.float32) / np.sqrt(real.shape[1])
    chosen = dice.integers(0, topics, rows)
    along = dice.normal(scale=0.22, size=(rows, 16)).astype(np.float32)
    drawn = np.empty((rows, real.shape[1]), np.float32)
    for start in range(0, rows, 2_000):
        part = slice(start, start + 2_000)
        spread = np.einsum("rk,rkd->rd", along[part], directions[chosen[part]])
        drawn[part] = mixed[chosen[part]] + spread
    drawn += dice.normal(scale=0.25 / np.sqrt(real.shape[1]), size=drawn.shape).astype(np.float32)
    return drawn / np.linalg.norm(drawn, axis=1, keepdims=True), chosen


async def _bare(connection: psycopg.AsyncConnection[Any], vector: Floats) -> None:
    half = f"halfvec({len(vector)})"
    cursor = await connection.execute(
        f"SELECT id FROM knowledge_chunks WHERE embedding_model = 'all-MiniLM-L6-v2'"
        f" ORDER BY embedding::{half} <=> %s::{half} LIMIT {K}".encode(),
        [as_text(vector)],
    )
    await cursor.fetchall()


async def _brute(connection: psycopg.AsyncConnection[Any], vector: Floats) -> None:
    cursor = await connection.execute(
        f"SELECT id FROM knowledge_chunks ORDER BY embedding <=> %s::vector LIMIT {K}".encode(), [as_text(vector)]
    )
    await cursor.fetchall()


async def _company(tx: Tx, number: int) -> UUID:
    return await tx.one(
        UUID,
        "INSERT INTO companies (name, normalized_name, segment, industry) VALUES (%(name)s, %(name)s, 's', 'i')"
        " RETURNING id",
        name=f"company {number}",
    )


async def _user(tx: Tx, number: int) -> UUID:
    return await tx.one(
        UUID,
        "INSERT INTO users (auth_id, email, name, role) VALUES (%(name)s, %(name)s, %(name)s, 'rep') RETURNING id",
        name=f"user{number}",
    )


if __name__ == "__main__":
    for figure in measure(int(sys.argv[1]) if sys.argv[1:] else ROWS):
        beside = "" if figure.bare is None else f"(bare {figure.bare:.3f})"
        verdict = "" if figure.met is None else f"{figure.goal}: {'met' if figure.met else 'MISSED'}"
        print(f"{figure.name:58} {figure.ours:10.3f} {figure.unit:10} {beside:18} {verdict}")  # noqa: T201
