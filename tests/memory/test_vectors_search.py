"""Vector memory, asked: who finds what, exactly and approximately, and under which model."""

import asyncio
import uuid
from datetime import timedelta
from typing import Any
from uuid import UUID

import numpy as np
import pytest

from memory import vectors
from memory.db import Database, Tx
from memory.embeddings import Floats
from memory.embeddings.hashing import HashingEmbedder
from memory.settings import Settings
from memory.vectors import models
from tests.memory import memories


class TestSearch:
    async def test_shows_a_reader_their_own_and_what_is_everybodys(self, tx: Tx) -> None:
        one, other = await memories.user(tx), await memories.user(tx)
        mine, theirs, ours = (
            memories.source("The budget is 40,000.", owner_user_id=owner) for owner in (one, other, None)
        )
        await memories.remember(tx, mine, theirs, ours)
        everyone = {mine.source_id, theirs.source_id, ours.source_id}
        for question in ("budget", "how much money is there"):
            assert set(await memories.found(tx, question, vectors.Scope(one))) <= {mine.source_id, ours.source_id}
            assert set(await memories.found(tx, question, vectors.Scope(other))) <= {theirs.source_id, ours.source_id}
        assert set(await memories.found(tx, "budget", vectors.Scope(one))) == {mine.source_id, ours.source_id}
        assert set(await memories.found(tx, "budget", vectors.Scope(None))) == everyone

    async def test_keeps_to_its_filters(self, tx: Tx) -> None:
        place = await memories.company(tx)
        here = memories.source("The budget.", company_id=place, occurred_at=memories.MOMENT)
        there = memories.source("The budget.", source_type="summary", occurred_at=memories.MOMENT - timedelta(days=9))
        await memories.remember(tx, here, there)
        both = {here.source_id, there.source_id}
        scopes = {
            vectors.Scope(None): both,
            vectors.Scope(None, company_id=place): {here.source_id},
            vectors.Scope(None, source_types=("summary",)): {there.source_id},
            vectors.Scope(None, since=memories.MOMENT): {here.source_id},
            vectors.Scope(None, without_source_id=here.source_id): {there.source_id},
            vectors.Scope(None, contact_id=uuid.uuid4()): set(),
            vectors.Scope(None, deal_id=uuid.uuid4()): set(),
        }
        for scope, expected in scopes.items():
            assert set(await memories.found(tx, "budget", scope)) == expected

    async def test_finds_by_words_before_there_is_a_vector(self, tx: Tx) -> None:
        await vectors.adopt(tx, memories.EMBEDDER.model, 64)
        fresh = memories.source("Invoice RM-20931 is wrong.")
        await vectors.write_sources(tx, [fresh])
        assert await memories.found(tx, "RM-20931") == [fresh.source_id]

    async def test_searches_by_words_alone_without_a_vector_of_the_answering_model(self, tx: Tx) -> None:
        named, near = memories.source("Ask for Siobhan at the door."), memories.source("Something else entirely.")
        await memories.remember(tx, named, near)
        for question in (vectors.Question("Siobhan"), await vectors.ask("Siobhan", memories.OTHER)):
            hits = await vectors.search(tx, question, vectors.Scope(None))
            assert [(hit.source_id, hit.similarity, hit.words_rank) for hit in hits] == [(named.source_id, None, 1)]

    async def test_says_where_and_why(self, tx: Tx) -> None:
        place = await memories.company(tx)
        text = memories.source("The answer is nine.", title="Re: Answer", company_id=place, occurred_at=memories.MOMENT)
        await memories.remember(tx, text)
        question = await vectors.ask("The answer is nine.", memories.EMBEDDER)
        [hit] = await vectors.search(tx, question, vectors.Scope(None))
        assert hit.model_dump(exclude={"chunk_id", "similarity"}) == {
            "source_type": "note", "source_id": text.source_id, "chunk_index": 0, "title": "Re: Answer",
            "content": "The answer is nine.", "company_id": place, "contact_id": None, "deal_id": None,
            "occurred_at": memories.MOMENT, "score": 1.0, "coverage": pytest.approx(1), "meaning_rank": 1, "words_rank": 1,
        }  # fmt: skip
        assert hit.similarity is not None
        assert 0.7 < hit.similarity <= 1

    async def test_drops_what_is_not_near_enough_unless_its_words_are_all_there(self, tx: Tx) -> None:
        near, worded = memories.source("red apples, red apples"), memories.source("zebra " + "filler text " * 30)
        await memories.remember(tx, near, worded)
        assert await memories.found(tx, "red apples", min_similarity=0.6) == [near.source_id]
        assert await memories.found(tx, "zebra", min_similarity=0.99) == [worded.source_id]

    async def test_weighs_words_by_how_rare_they_are(self, tx: Tx) -> None:
        common = [memories.source(f"The delivery of pallets, number {number}, was late.") for number in range(30)]
        rare = memories.source("A vaccine was lost.")
        await memories.remember(tx, *common, rare)
        hits = await vectors.search(
            tx, vectors.Question("late delivery of pallets of vaccine"), vectors.Scope(None), limit=3
        )
        assert rare.source_id in {hit.source_id for hit in hits}

    @pytest.mark.parametrize(
        "text",
        [
            "",
            "   ",
            "the of and",
            "'",
            "\\",
            "a' | 'b",
            "!!(&|",
            "<->",
            "it's \\ o'clock",
            "':*",
            "x" * 5000,
            "漢字",
            "\U0001f600",
        ],
    )
    async def test_takes_any_text_for_a_question(self, tx: Tx, text: str) -> None:
        await memories.remember(tx, memories.source("It's five o'clock, a\\b."))
        for scope in (vectors.Scope(None), vectors.Scope(None, company_id=uuid.uuid4())):
            await memories.found(tx, text, scope)

    async def test_finds_words_that_hold_quotes_and_backslashes(self, tx: Tx) -> None:
        path = memories.source(r"See C:\share\o'brien for the file.")
        await memories.remember(tx, path, memories.source("Another text."))
        hits = await vectors.search(tx, vectors.Question(r"C:\share\o'brien"), vectors.Scope(None))
        assert [hit.source_id for hit in hits] == [path.source_id]

    async def test_knows_nothing_before_there_is_a_model(self, tx: Tx) -> None:
        assert await memories.found(tx, "anything") == []

    async def test_asks_without_a_vector_when_the_model_is_away(self) -> None:
        class Away(HashingEmbedder):
            async def embed_query(self, text: str) -> Floats:
                raise models.DimensionsChanged(model="x", stored=1, given=2)

        assert await vectors.ask("hello", Away()) == vectors.Question("hello")


def cloud(rows: int, dimensions: int = 64, seed: int = 7) -> np.ndarray[Any, np.dtype[np.float32]]:
    """Unit vectors in clusters, as texts about the same matters are."""
    noise = np.random.default_rng(seed)
    centres = noise.normal(size=(40, dimensions))
    points = centres[noise.integers(0, 40, rows)] + 0.6 * noise.normal(size=(rows, dimensions))
    return (points / np.linalg.norm(points, axis=1, keepdims=True)).astype(np.float32)


class TestWideSearch:
    """2,000 chunks of one workspace, two per cent of them one reader's, behind a real HNSW index."""

    ROWS = 2000

    @pytest.fixture
    async def points(self, db: Database) -> np.ndarray[Any, np.dtype[np.float32]]:
        points = cloud(self.ROWS)
        async with db.transaction() as tx:
            self.one, self.other = await memories.user(tx), await memories.user(tx)
            await vectors.adopt(tx, memories.EMBEDDER.model, 64)
            texts = [
                memories.source(f"Text {number}", owner_user_id=self.one if number % 50 == 0 else self.other)
                for number in range(self.ROWS)
            ]
            await vectors.write_sources(tx, texts)
            self.place = {text.source_id: number for number, text in enumerate(texts)}
            claimed = await vectors.claim_pending(tx, memories.EMBEDDER.model, limit=self.ROWS)
            await vectors.store_vectors(tx, claimed, [points[int(row.content.split()[1])] for row in claimed])
        await vectors.ensure_index(db, memories.EMBEDDER.model, 64)
        async with db.transaction() as tx:
            await tx.run("ANALYZE knowledge_chunks")
        return points

    async def near(self, tx: Tx, vector: Floats, scope: vectors.Scope, depth: int = 10) -> list[int]:
        question = vectors.Question("", memories.EMBEDDER.model, vector)
        rows = await vectors.search_meaning(tx, question, scope, depth=depth)
        ids = [row_id for row_id, _ in rows]
        sources = await tx.many(
            UUID,
            "SELECT c.source_id FROM unnest(%(ids)s::uuid[]) WITH ORDINALITY AS g (id, n)"
            " JOIN knowledge_chunks c USING (id) ORDER BY n",
            ids=ids,
        )
        return [self.place[source_id] for source_id in sources]

    async def test_finds_the_true_neighbours(self, db: Database, points: Any) -> None:
        hits = 0
        async with db.reading() as tx:
            for query in cloud(50, seed=8):
                truth = set(np.argsort(-(points @ query))[:10].tolist())
                hits += len(truth & set(await self.near(tx, query, vectors.Scope(None))))
        assert hits >= 495

    async def test_fills_a_page_for_a_reader_of_two_per_cent(self, db: Database, points: Any) -> None:
        own = np.arange(0, self.ROWS, 50)
        async with db.reading() as tx:
            for query in cloud(10, seed=9):
                truth = own[np.argsort(-(points[own] @ query))[:20]].tolist()
                got = await self.near(tx, query, vectors.Scope(self.one), depth=20)
                assert len(got) == 20
                assert len(set(truth) & set(got)) >= 19

    async def test_goes_through_the_index(self, db: Database, points: Any) -> None:
        async with db.transaction() as tx:
            await tx.run("SET LOCAL enable_seqscan = off")
            await self.near(tx, points[0], vectors.Scope(None))
            used = await tx.one(
                int,
                "SELECT coalesce(sum(idx_scan), 0) + pg_stat_get_xact_numscans(to_regclass(%(name)s))"
                " FROM pg_stat_user_indexes WHERE indexrelname = %(name)s",
                name=models.index_name(memories.EMBEDDER.model),
            )
        assert used > 0

    async def test_leaves_no_setting_behind(self, db: Database, points: Any) -> None:
        async with db.reading() as tx:
            await self.near(tx, points[0], vectors.Scope(None))
            assert await tx.one(str, "SELECT current_setting('hnsw.ef_search')") == "40"


class TestModels:
    async def test_lets_the_first_model_answer_at_once(self, tx: Tx) -> None:
        assert await vectors.find_answering(tx) is None
        assert await vectors.adopt(tx, memories.EMBEDDER.model, 64) == "answering"
        assert await vectors.adopt(tx, memories.EMBEDDER.model, 64) == "answering"
        answering = await vectors.find_answering(tx)
        assert answering is not None
        assert (answering.model, answering.dimensions) == ("hashing-64", 64)

    async def test_refuses_other_dimensions_under_the_same_name(self, tx: Tx) -> None:
        await vectors.adopt(tx, "m", 64)
        with pytest.raises(models.DimensionsChanged, match="have 64 dimensions, not 32"):
            await vectors.adopt(tx, "m", 32)

    async def test_answers_with_the_old_vectors_until_the_new_ones_are_complete(self, tx: Tx) -> None:
        first, second = memories.source("The budget is 40,000."), memories.source("The delivery is late.")
        await memories.remember(tx, first, second)
        assert await vectors.adopt(tx, memories.OTHER.model, 32) == "building"
        assert not await vectors.promote(tx)
        assert await vectors.copy_chunks(tx, limit=1) == 1
        assert await vectors.copy_chunks(tx) == 1
        assert await vectors.copy_chunks(tx) == 0
        late = memories.source("A note from meanwhile.")
        await vectors.write_sources(tx, [late])
        assert await vectors.find_rebuild(tx) == vectors.RebuildRow(model="hashing-32", missing=0, pending=3)
        assert not await vectors.promote(tx)
        assert (
            await memories.found(tx, "budget")
            == [first.source_id, *await memories.found(tx, "budget")][:1] + (await memories.found(tx, "budget"))[1:]
        )
        assert await memories.embed_all(tx, memories.OTHER) == 3
        assert await vectors.promote(tx)
        hits = await vectors.search(
            tx, await vectors.ask("A note from meanwhile.", memories.OTHER), vectors.Scope(None)
        )
        assert hits[0].source_id == late.source_id
        assert hits[0].similarity is not None

    async def test_forgets_the_old_vectors_afterwards(self, tx: Tx) -> None:
        await memories.remember(tx, memories.source("One."), memories.source("Two."))
        await vectors.adopt(tx, memories.OTHER.model, 32)
        await vectors.copy_chunks(tx)
        await memories.embed_all(tx, memories.OTHER)
        await vectors.promote(tx)
        assert await vectors.prune_retired(tx, limit=1) == 1
        assert await vectors.prune_retired(tx) == 1
        assert await tx.many(str, "SELECT DISTINCT embedding_model FROM knowledge_chunks") == ["hashing-32"]
        assert [row.model for row in await vectors.list_models(tx)] == ["hashing-32"]

    async def test_goes_back_to_the_model_that_answers(self, tx: Tx) -> None:
        await memories.remember(tx, memories.source("One."))
        await vectors.adopt(tx, memories.OTHER.model, 32)
        await vectors.copy_chunks(tx)
        assert await vectors.adopt(tx, memories.EMBEDDER.model, 64) == "answering"
        assert {row.model: row.state for row in await vectors.list_models(tx)} == {
            "hashing-64": "answering",
            "hashing-32": "retired",
        }
        await vectors.prune_retired(tx)
        assert await tx.one(int, "SELECT count(*) FROM knowledge_chunks") == 1

    async def test_promises_the_rebuild(self, tx: Tx) -> None:
        await vectors.adopt(tx, memories.EMBEDDER.model, 64)
        await vectors.adopt(tx, memories.OTHER.model, 32)
        await vectors.adopt(tx, memories.OTHER.model, 32)
        assert await tx.many(str, "SELECT job FROM outbox") == ["knowledge.rebuild"]


class TestAsker:
    async def test_asks_without_a_vector_when_nobody_answers_or_the_model_is_away(self, db: Database) -> None:
        class Away(HashingEmbedder):
            async def embed_query(self, text: str) -> Floats:
                raise models.DimensionsChanged(model="x", stored=1, given=2)

        async with vectors.Asker(db, Away(64), Settings()) as asker:
            assert await asker.ask("hello") == vectors.Question("hello")
            await vectors.prepare(db, memories.EMBEDDER)
            assert await asker.ask("hello") == vectors.Question("hello")


class TestEnsureIndex:
    async def test_builds_it_once_for_many_callers(self, db: Database) -> None:
        async with db.transaction() as tx:
            await memories.remember(tx, memories.source("One."))
        built = await asyncio.gather(*(vectors.ensure_index(db, memories.EMBEDDER.model, 64) for _ in range(4)))
        assert sorted(built) == [False, False, False, True]
        assert not await vectors.ensure_index(db, memories.EMBEDDER.model, 64)

    async def test_builds_again_what_a_broken_build_left(self, db: Database) -> None:
        name = models.index_name(memories.EMBEDDER.model)
        async with db.transaction() as tx:
            await memories.remember(tx, memories.source("One."))
        await vectors.ensure_index(db, memories.EMBEDDER.model, 64)
        async with db.reading() as tx:
            await tx.run("UPDATE pg_index SET indisvalid = false WHERE indexrelid = to_regclass(%(name)s)", name=name)
        assert await vectors.ensure_index(db, memories.EMBEDDER.model, 64)

    async def test_takes_a_model_of_many_dimensions_and_any_name(self, db: Database) -> None:
        assert await vectors.ensure_index(db, 'it\'s "big"; --', 3072)
        assert await vectors.drop_unused_indexes(db) == [models.index_name('it\'s "big"; --')]

    async def test_prepares_a_new_database(self, db: Database) -> None:
        assert await vectors.prepare(db, memories.EMBEDDER) == "answering"
        assert await vectors.prepare(db, memories.EMBEDDER) == "answering"
        assert await vectors.drop_unused_indexes(db) == []
