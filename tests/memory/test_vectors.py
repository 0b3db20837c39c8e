"""Vector memory, written: chunks, their vectors, and that nothing outlives its source."""

import asyncio
from datetime import timedelta
from itertools import pairwise
from typing import Any
from uuid import UUID

import numpy as np
import pytest
from hypothesis import given as having
from hypothesis import settings
from hypothesis import strategies as st

from memory import tokens, vectors
from memory.db import Database, Tx
from memory.vectors import fusion
from memory.vectors.chunks import as_text
from tests.memory import memories


class TestSplitText:
    def test_cuts_whole_sentences_that_fit(self) -> None:
        chunks = vectors.split_text(memories.SPEECH)
        assert len(chunks) > 5
        assert all(chunk in memories.SPEECH for chunk in chunks)
        assert all(tokens.count(chunk) <= 200 for chunk in chunks)
        assert all(chunk.startswith("Sentence") and chunk.endswith(".") for chunk in chunks)

    def test_repeats_the_end_of_the_chunk_before(self) -> None:
        chunks = vectors.split_text(memories.SPEECH)
        for before, after in pairwise(chunks):
            shared = next(size for size in range(len(after), 0, -1) if before.endswith(after[:size]))
            assert 10 < tokens.count(after[:shared]) <= 40
        for number in range(120):
            assert any(f"Sentence number {number} says" in chunk for chunk in chunks)

    def test_leaves_a_short_text_whole(self) -> None:
        assert vectors.split_text("  Hello there.\n\nIt's me.  ") == ["Hello there.\n\nIt's me."]

    @pytest.mark.parametrize("text", ["", " \n\t ", "--- ... !!!"])
    def test_makes_nothing_of_no_words(self, text: str) -> None:
        assert vectors.split_text(text) == []

    @pytest.mark.parametrize(
        "text", ["x" * 300_000, "word " * 60_000, "漢字。" * 30_000, "a. " * 60_000, "😀" * 20_000]
    )
    def test_survives_a_hostile_text(self, text: str) -> None:
        chunks = vectors.split_text(text)
        assert len(chunks) <= 500
        assert all(tokens.count(chunk) <= 200 for chunk in chunks)

    @settings(max_examples=60, deadline=None)
    @having(st.text(alphabet=st.sampled_from("ab é漢😀.!?\n 1"), max_size=200), st.integers(4, 30), st.integers(0, 10))
    def test_loses_no_word(self, text: str, cap: int, overlap: int) -> None:
        def letters(*parts: str) -> str:
            return "".join(letter for part in parts for letter in part if letter.isalnum())

        assert all(chunk in text for chunk in vectors.split_text(text, cap=cap, overlap=overlap))
        assert letters(*vectors.split_text(text, cap=cap, overlap=0)) == letters(text)


class TestFuse:
    A, B, C, D = (UUID(int=number) for number in range(1, 5))

    def test_follows_the_words_when_they_cover_the_question(self) -> None:
        ranked = fusion.fuse([(self.A, 0.6), (self.B, 0.5), (self.C, 0.4)], [(self.C, 1.0), (self.D, 0.3)])
        assert ranked[0].chunk_id == self.C
        assert (ranked[0].similarity, ranked[0].coverage, ranked[0].meaning_rank, ranked[0].words_rank) == (
            0.4,
            1,
            3,
            1,
        )

    def test_follows_the_meaning_when_they_hardly_do(self) -> None:
        ranked = fusion.fuse([(self.A, 0.6), (self.B, 0.5)], [(self.D, 0.15), (self.C, 0.1)])
        assert [one.chunk_id for one in ranked] == [self.A, self.B, self.D, self.C]

    def test_is_one_at_most(self) -> None:
        best = fusion.fuse([(self.A, 0.9)], [(self.A, 1.0)])[0]
        assert best.score == 1

    def test_is_each_ranking_where_the_other_is_empty(self) -> None:
        some = [(self.B, 0.9), (self.A, 0.3), (self.C, 0.2)]
        assert [one.chunk_id for one in fusion.fuse(some, [])] == [self.B, self.A, self.C]
        assert [one.chunk_id for one in fusion.fuse([], some)] == [self.B, self.A, self.C]
        assert fusion.fuse([], []) == []

    @having(st.permutations(list(range(6))), st.permutations(list(range(6))))
    def test_has_one_order_for_equal_scores(self, near: list[int], worded: list[int]) -> None:
        meaning = [(UUID(int=number), 0.5) for number in near]
        words = [(UUID(int=number), 0.5) for number in worded]
        ranked = fusion.fuse(meaning, words)
        assert sorted(ranked, key=lambda one: (-one.score, str(one.chunk_id))) == ranked


class TestWriteSources:
    async def test_waits_for_a_model(self, tx: Tx) -> None:
        assert await vectors.write_sources(tx, [memories.source("Hello there.")]) == 0
        assert await tx.one(int, "SELECT count(*) FROM knowledge_sources") == 0

    async def test_writes_chunks_and_promises_their_vectors_once(self, tx: Tx) -> None:
        await vectors.adopt(tx, memories.EMBEDDER.model, 64)
        one, other = (
            memories.source(memories.SPEECH, title="Items"),
            memories.source("Hello there.", occurred_at=memories.MOMENT),
        )
        assert await vectors.write_sources(tx, [one]) > 5
        assert await vectors.write_sources(tx, [other]) == 1
        rows = await tx.many(
            tuple[int, str, str, int],  # pyright: ignore[reportArgumentType] - a record of columns
            "SELECT ROW(chunk_index, title, embedding_model, dimensions) FROM knowledge_chunks"
            " WHERE source_id = %(id)s ORDER BY chunk_index",
            id=one.source_id,
        )
        assert [row[0] for row in rows] == [*range(len(rows))]
        assert {row[1:] for row in rows} == {("Items", "hashing-64", 64)}
        assert await tx.many(str, "SELECT job FROM outbox") == ["knowledge.embed_pending"]

    async def test_keeps_the_vectors_of_what_has_not_changed(self, tx: Tx) -> None:
        before = memories.source(memories.SPEECH)
        await memories.remember(tx, before)
        longer = memories.source(memories.SPEECH + " One more thing.", source_id=before.source_id)
        assert await vectors.write_sources(tx, [longer]) == 1
        assert await memories.embed_all(tx) == 1

    async def test_changes_nothing_for_the_same_text(self, tx: Tx) -> None:
        same = memories.source("Hello there.", company_id=await memories.company(tx))
        await memories.remember(tx, same)
        stamp = "SELECT string_agg(xmin::text || ctid::text, ',') FROM knowledge_chunks"
        before = await tx.one(str, stamp)
        assert await vectors.write_sources(tx, [same]) == 0
        assert await tx.one(str, stamp) == before

    async def test_drops_what_a_shorter_text_no_longer_says(self, tx: Tx) -> None:
        before = memories.source(memories.SPEECH)
        await memories.remember(tx, before)
        await vectors.write_sources(tx, [memories.source("Only this.", source_id=before.source_id)])
        assert await tx.many(str, "SELECT content FROM knowledge_chunks") == ["Only this."]

    async def test_remembers_that_there_was_nothing_to_say(self, tx: Tx) -> None:
        await memories.remember(tx, memories.source("..."))
        assert await tx.one(int, "SELECT chunks FROM knowledge_sources") == 0

    async def test_takes_nothing_for_nothing(self, tx: Tx) -> None:
        assert await vectors.write_sources(tx, []) == 0


class TestClaimPending:
    async def test_gives_each_chunk_to_one_worker(self, db: Database) -> None:
        async with db.transaction() as tx:
            await vectors.adopt(tx, memories.EMBEDDER.model, 64)
            await vectors.write_sources(tx, [memories.source(f"Note {number}.") for number in range(20)])
        async with db.transaction() as one, db.transaction() as other:
            first = await vectors.claim_pending(one, memories.EMBEDDER.model, limit=12)
            second = await vectors.claim_pending(other, memories.EMBEDDER.model, limit=12)
        assert (len(first), len(second)) == (12, 8)
        assert not {row.id for row in first} & {row.id for row in second}

    async def test_gives_it_again_when_the_worker_has_died(self, tx: Tx) -> None:
        await vectors.adopt(tx, memories.EMBEDDER.model, 64)
        await vectors.write_sources(tx, [memories.source("Hello.")])
        [claimed] = await vectors.claim_pending(tx, memories.EMBEDDER.model)
        tx.now += timedelta(minutes=9)
        assert await vectors.claim_pending(tx, memories.EMBEDDER.model) == []
        tx.now += timedelta(minutes=2)
        assert await vectors.claim_pending(tx, memories.EMBEDDER.model) == [claimed]

    async def test_leaves_a_chunk_alone_after_five_attempts(self, tx: Tx) -> None:
        await vectors.adopt(tx, memories.EMBEDDER.model, 64)
        await vectors.write_sources(tx, [memories.source("Poison.")])
        for _ in range(5):
            rows = await vectors.claim_pending(tx, memories.EMBEDDER.model)
            assert len(rows) == 1
            await vectors.release(tx, rows, blameless=False)
        assert await vectors.claim_pending(tx, memories.EMBEDDER.model) == []

    async def test_does_not_count_an_attempt_that_the_model_missed(self, tx: Tx) -> None:
        await vectors.adopt(tx, memories.EMBEDDER.model, 64)
        await vectors.write_sources(tx, [memories.source("Patience.")])
        for _ in range(9):
            rows = await vectors.claim_pending(tx, memories.EMBEDDER.model)
            assert len(rows) == 1
            await vectors.release(tx, rows, blameless=True)


class TestStoreVectors:
    async def test_leaves_out_what_has_changed_meanwhile(self, tx: Tx) -> None:
        await vectors.adopt(tx, memories.EMBEDDER.model, 64)
        steady, changing = memories.source("Steady."), memories.source("Before.")
        await vectors.write_sources(tx, [steady, changing])
        claimed = await vectors.claim_pending(tx, memories.EMBEDDER.model)
        await vectors.write_sources(tx, [memories.source("After.", source_id=changing.source_id)])
        assert (
            await vectors.store_vectors(tx, claimed, await memories.EMBEDDER.embed([row.text for row in claimed])) == 1
        )
        assert await tx.many(str, "SELECT content FROM knowledge_chunks WHERE embedding IS NULL") == ["After."]
        assert await memories.embed_all(tx) == 1

    async def test_keeps_every_digit(self, tx: Tx) -> None:
        await memories.remember(tx, memories.source("Precise."))
        stored = await tx.one(str, "SELECT embedding::text FROM knowledge_chunks")
        kept = np.array([float(number) for number in stored[1:-1].split(",")], np.float32)
        assert np.array_equal(kept, await memories.EMBEDDER.embed_query("Precise."))


class TestForgetting:
    async def test_forgets_a_source(self, tx: Tx) -> None:
        gone = memories.source("Forget me.")
        await memories.remember(tx, gone, memories.source("Keep me."))
        assert await vectors.forget_source(tx, "note", gone.source_id)
        assert not await vectors.forget_source(tx, "note", gone.source_id)
        assert await tx.many(str, "SELECT content FROM knowledge_chunks") == ["Keep me."]

    @pytest.mark.parametrize(
        "statement",
        [
            "DELETE FROM communications WHERE id = %(id)s",
            "DELETE FROM users WHERE id = %(user_id)s",
            "UPDATE communications SET excluded_at = now() WHERE id = %(id)s",
            "UPDATE communications SET noise_type = 'marketing' WHERE id = %(id)s",
        ],
    )
    async def test_forgets_what_is_erased_or_excluded_however_it_is(self, tx: Tx, statement: Any) -> None:
        owner, other = await memories.user(tx), await memories.user(tx)
        gone, kept = await memories.communication(tx, owner), await memories.communication(tx, other)
        await memories.remember(
            tx,
            memories.source("The secret.", source_type="communication", source_id=gone, owner_user_id=owner),
            memories.source("The other.", source_type="communication", source_id=kept, owner_user_id=other),
            memories.source("The note.", source_id=gone),
        )
        await tx.run(statement, id=gone, user_id=owner)
        assert await tx.many(str, "SELECT content FROM knowledge_chunks ORDER BY 1") == ["The note.", "The other."]
        assert await tx.one(int, "SELECT count(*) FROM knowledge_sources") == 2

    async def test_lets_no_chunk_be_written_for_what_is_forgotten_meanwhile(self, db: Database) -> None:
        """A takeover copies chunks while somebody excludes their source: the copy must not survive."""
        kept = memories.source("The secret.")
        async with db.transaction() as tx:
            await memories.remember(tx, kept)
            await vectors.adopt(tx, memories.OTHER.model, 32)
        async with db.transaction() as copying:
            assert await vectors.copy_chunks(copying) == 1

            async def forget() -> None:
                async with db.transaction() as forgetting:
                    await vectors.forget_source(forgetting, "note", kept.source_id)

            forgetting = asyncio.create_task(forget())
            await self.until_waiting(db)
        await forgetting
        async with db.reading() as tx:
            assert await tx.one(int, "SELECT count(*) FROM knowledge_chunks") == 0

    async def until_waiting(self, db: Database) -> None:
        async with asyncio.timeout(5), db.reading() as tx:
            while not await tx.one(int, "SELECT count(*) FROM pg_locks WHERE NOT granted"):  # noqa: ASYNC110 - Postgres tells nobody who waits
                await asyncio.sleep(0.01)

    async def test_moves_with_its_communication(self, tx: Tx) -> None:
        owner, heir, place = await memories.user(tx), await memories.user(tx), await memories.company(tx)
        message = await memories.communication(tx, owner)
        await memories.remember(
            tx, memories.source("Budget.", source_type="communication", source_id=message, owner_user_id=owner)
        )
        await tx.run(
            "UPDATE communications SET user_id = %(heir)s, company_id = %(place)s WHERE id = %(id)s",
            heir=heir,
            place=place,
            id=message,
        )
        assert await memories.found(tx, "budget", vectors.Scope(owner)) == []
        assert await memories.found(tx, "budget", vectors.Scope(heir, company_id=place)) == [message]

    async def test_does_not_become_everybodys_when_its_person_goes(self, tx: Tx) -> None:
        owner = await memories.user(tx)
        transcript = await tx.one(
            UUID,
            "INSERT INTO meeting_transcriptions (user_id, title, meeting_date) VALUES (%(owner)s, 'T', %(now)s)"
            " RETURNING id",
            owner=owner,
        )
        await memories.remember(
            tx, memories.source("Private.", source_type="transcript", source_id=transcript, owner_user_id=owner)
        )
        await tx.run("DELETE FROM users WHERE id = %(owner)s", owner=owner)
        assert await memories.found(tx, "private") == []


def test_writes_a_vector_as_postgres_reads_it() -> None:
    assert as_text(np.array([0.1, -1e-8, 0.0], np.float32)) == "[0.100000001,-9.99999994e-09,0]"
