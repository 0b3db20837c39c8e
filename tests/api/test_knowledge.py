"""Jobs of vector memory: nothing is lost when the model is away, and another model takes over without a gap."""

from collections.abc import Sequence
from uuid import uuid4

import pytest

from api.jobs import kit
from api.jobs.kit import Run, run_due_jobs, run_job_inline
from api.jobs.process import Means
from memory import vectors
from memory.db import Database
from memory.embeddings import Embedder, Floats
from memory.embeddings.compatible import EmbeddingsDown, EmbeddingsWrong
from memory.embeddings.hashing import HashingEmbedder
from memory.settings import Settings
from tests.given import Given
from tools import knowledge
from tools.knowledge import KnowledgeSearchIn, KnowledgeStateRow

SMALL = Settings(embedding_engine="hashing", embedding_dimensions=32)
LARGE = Settings(embedding_engine="hashing", embedding_dimensions=64)


class Away(HashingEmbedder):
    """A model that does not answer."""

    async def embed(self, texts: Sequence[str]) -> list[Floats]:
        raise EmbeddingsDown(reason="status 503")


class Picky(HashingEmbedder):
    """A model that refuses one text, and with it every batch that holds it."""

    async def embed(self, texts: Sequence[str]) -> list[Floats]:
        if any("poison" in text for text in texts):
            raise EmbeddingsWrong(reason="status 400")
        return await super().embed(texts)

    async def embed_query(self, text: str) -> Floats:
        return (await self.embed([text]))[0]


class Broken(HashingEmbedder):
    """An endpoint that refuses everything, as one with the wrong key does."""

    async def embed(self, texts: Sequence[str]) -> list[Floats]:
        raise EmbeddingsWrong(reason="status 401")

    async def embed_query(self, text: str) -> Floats:
        raise EmbeddingsWrong(reason="status 401")


async def write(db: Database, *texts: str) -> None:
    async with db.transaction() as tx:
        await vectors.adopt(tx, "hashing-32", 32)
        for text in texts:
            await knowledge.index_source(tx, "note", uuid4(), text)


async def embed_with(db: Database, embedder: Embedder) -> None:
    means = Means(db, SMALL, embedder=embedder)
    await kit.get_job("knowledge.embed_pending").call(
        Run(means, "knowledge.embed_pending", None, 1, kit.log.bind()), {}
    )


async def state(db: Database) -> KnowledgeStateRow:
    async with db.reading() as tx:
        return await knowledge.get_knowledge_state(tx)


async def best(db: Database, text: str) -> tuple[str | None, float | None]:
    """Ask as a process does that is set to the new model; answers with the model asked and the best similarity."""
    async with vectors.Asker(db, HashingEmbedder(64), LARGE) as asker:
        question = await asker.ask(text)
    async with db.reading() as tx:
        hits = await vectors.search(tx, question, vectors.Scope(None))
    assert hits[0].content == text
    return question.model, hits[0].similarity


class TestCollect:
    async def test_adopts_the_model_takes_up_what_is_there_and_embeds_it(self, db: Database) -> None:
        async with db.transaction() as tx:
            given = Given(tx)
            rep = await given.user()
            for number in range(230):
                await given.communication(user=rep, subject="Late", full_content=f"Order {number} is late.")
        await run_job_inline(db, "knowledge.collect", settings=SMALL)
        assert await run_due_jobs(db, settings=SMALL) == ["knowledge.embed_pending"]
        assert await state(db) == KnowledgeStateRow(
            model="hashing-32", dimensions=32, building=None, sources=230, chunks=230, pending=0, failed=0
        )
        async with db.reading() as tx:
            hits = await knowledge.search_knowledge(tx, rep, KnowledgeSearchIn(query="Order 77"))
            assert hits[0].content == "Order 77 is late."

    async def test_promises_again_what_a_dead_worker_had_claimed(self, db: Database) -> None:
        await write(db, "One.")
        async with db.transaction() as tx:
            await vectors.claim_pending(tx, "hashing-32")
            await tx.run("DELETE FROM outbox")
            await tx.run("UPDATE knowledge_chunks SET claimed_at = claimed_at - interval '1 hour'")
        await run_job_inline(db, "knowledge.collect", settings=SMALL)
        await run_due_jobs(db, settings=SMALL)
        assert (await state(db)).pending == 0


class TestEmbedPending:
    async def test_gives_back_what_the_model_was_not_there_for(self, db: Database) -> None:
        await write(db, "One.", "Two.")
        for _ in range(7):
            with pytest.raises(EmbeddingsDown):
                await embed_with(db, Away(32))
        assert (await state(db)).pending == 2
        await embed_with(db, HashingEmbedder(32))
        assert (await state(db)).pending == 0

    async def test_leaves_out_only_the_text_that_is_refused(self, db: Database) -> None:
        await write(db, "Good.", "A poison.", "Better.")
        await embed_with(db, Picky(32))
        after = await state(db)
        assert (after.pending, after.failed) == (0, 1)

    async def test_blames_no_text_for_a_wrong_key(self, db: Database) -> None:
        await write(db, "One.", "Two.")
        for _ in range(7):
            with pytest.raises(EmbeddingsWrong):
                await embed_with(db, Broken(32))
        assert (await state(db)).pending == 2


class TestRebuild:
    async def test_lets_another_model_take_over_without_a_gap(self, db: Database) -> None:
        await write(db, "The budget is tight.", "The delivery is late.")
        await run_job_inline(db, "knowledge.collect", settings=SMALL)
        await run_due_jobs(db, settings=SMALL)

        await run_job_inline(db, "knowledge.collect", settings=LARGE)
        between = await state(db)
        assert (between.model, between.building) == ("hashing-32", "hashing-64")
        assert await best(db, "The budget is tight.") == ("hashing-32", pytest.approx(1))

        kept = await run_due_jobs(db, settings=LARGE)
        assert set(kept) == {"knowledge.rebuild", "knowledge.embed_pending"}
        assert await state(db) == KnowledgeStateRow(
            model="hashing-64", dimensions=64, building=None, sources=2, chunks=2, pending=0, failed=0
        )
        assert await best(db, "The delivery is late.") == ("hashing-64", pytest.approx(1))
        async with db.reading() as tx:
            assert await tx.many(str, "SELECT model FROM knowledge_models") == ["hashing-64"]
            indexes = "SELECT count(*) FROM pg_indexes WHERE starts_with(indexname, 'knowledge_chunks_hnsw_')"
            assert await tx.one(int, indexes) == 1

    async def test_does_nothing_when_nothing_is_to_be_rebuilt(self, db: Database) -> None:
        await write(db, "One.")
        await run_due_jobs(db, settings=SMALL)
        before = await state(db)
        await run_job_inline(db, "knowledge.rebuild", settings=SMALL)
        assert await state(db) == before
