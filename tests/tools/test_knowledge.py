"""Knowledge: what is taken up, who finds it, and that hybrid search pays."""

import asyncio
from collections.abc import Sequence
from typing import Any
from uuid import UUID, uuid4

import pytest
from pydantic import ValidationError

from memory import vectors
from memory.callers import SYSTEM, Caller
from memory.db import Database, Json, Tx
from memory.embeddings import open_embedder
from memory.embeddings.hashing import HashingEmbedder
from tests.bench import memory as bench
from tests.given import Given
from tools import knowledge
from tools.knowledge import KnowledgeSearchIn, KnowledgeStateRow

EMBEDDER = HashingEmbedder(64)


async def collect(tx: Tx) -> int:
    """Take up everything, and give it vectors."""
    await vectors.adopt(tx, EMBEDDER.model, EMBEDDER.dimensions)
    taken = await knowledge.collect_pending(tx)
    while rows := await vectors.claim_pending(tx, EMBEDDER.model):
        await vectors.store_vectors(tx, rows, await EMBEDDER.embed([row.text for row in rows]))
    return taken


async def find(tx: Tx, caller: Caller, query: str, **told: Any) -> list[UUID]:
    search = KnowledgeSearchIn(query=query, **told)
    hits = await knowledge.search_knowledge(tx, caller, search, question=await vectors.ask(query, EMBEDDER))
    return [hit.source_id for hit in hits]


async def remembered(tx: Tx) -> Sequence[UUID]:
    return await tx.many(UUID, "SELECT source_id FROM knowledge_chunks ORDER BY source_id")


class TestCollectPending:
    async def test_takes_up_each_kind_with_its_scope(self, tx: Tx, given: Given) -> None:
        rep, acme = await given.user(), await given.company()
        contact, deal = await given.contact(company=acme), await given.deal(company=acme, owner=rep)
        mail = await given.communication(
            user=rep, contact=contact, deal=deal, subject="Price", full_content="Too high."
        )
        talk = await given.transcript(user=rep, company=acme, title="Demo", transcription_text="Ana: Hello.")
        note = await given.row("relationship_notes", contact_id=contact.id, company_id=acme.id, note="Likes tea.")
        summary: dict[str, Any] = {
            "summary_type": "company_overview", "summary": Json({}), "context_hash": "h", "generated_at": tx.now,
        }  # fmt: skip
        of_company = await given.row(
            "ai_summaries", company_id=acme.id, audience_id=rep.user_id, summary_text="A customer.", **summary
        )
        summary["summary_type"] = "deal_overview"
        of_deal = await given.row(
            "ai_summaries", deal_id=deal.id, audience_id=rep.user_id, summary_text="A deal.", **summary
        )
        assert await collect(tx) == 5
        rows = await tx.many(
            dict[str, Any],
            "SELECT to_jsonb(c) - '{id,content_hash,embedding,search,created_at,occurred_at}'::text[]"
            " FROM knowledge_chunks c",
        )
        told = {
            (row["source_type"], UUID(row["source_id"])): (
                row["title"], row["content"], row["company_id"], row["contact_id"], row["deal_id"], row["owner_user_id"],
            )
            for row in rows
        }  # fmt: skip
        acme_id, contact_id, deal_id, rep_id = str(acme.id), str(contact.id), str(deal.id), str(rep.user_id)
        assert told == {
            ("communication", mail.id): ("Price", "Too high.", acme_id, contact_id, deal_id, rep_id),
            ("transcript", talk.id): ("Demo", "Ana: Hello.", acme_id, None, None, rep_id),
            ("note", note.id): ("", "Likes tea.", acme_id, contact_id, None, None),
            ("summary", of_company.id): ("company overview", "A customer.", acme_id, None, None, rep_id),
            ("summary", of_deal.id): ("deal overview", "A deal.", acme_id, None, deal_id, rep_id),
        }

    async def test_leaves_out_noise_and_what_is_excluded_or_nobodys(self, tx: Tx, given: Given) -> None:
        rep, deal = await given.user(), await given.deal()
        await given.communication(user=rep, noise_type="marketing")
        noisy = await given.communication(user=rep)
        await tx.run("UPDATE communications SET noise_type = 'system' WHERE id = %(id)s", id=noisy.id)
        await given.communication(user=rep, excluded_at=tx.now)
        await given.row("meeting_transcriptions", title="T", meeting_date=tx.now, transcription_text="Nobody's.")
        await given.row("relationship_notes", company_id=deal.company_id, note="Gone.", deleted_at=tx.now)
        await given.row(
            "ai_summaries", deal_id=deal.id, summary_type="deal_overview", summary=Json({}), summary_text="Of everybody's mail.",
            context_hash="h", generated_at=tx.now,
        )  # fmt: skip
        await collect(tx)
        assert await remembered(tx) == []

    async def test_takes_each_once(self, tx: Tx, given: Given) -> None:
        rep = await given.user()
        for _ in range(3):
            await given.communication(user=rep)
        await given.communication(user=rep, full_content="", subject=None, content_preview="")
        assert await collect(tx) == 4
        assert await collect(tx) == 0

    async def test_takes_so_many_at_once_in_their_order(self, tx: Tx, given: Given) -> None:
        rep = await given.user()
        first, second = await given.communication(user=rep), await given.communication(user=rep)
        await vectors.adopt(tx, EMBEDDER.model, 64)
        assert await knowledge.collect_pending(tx, limit=1) == 1
        assert await remembered(tx) == [first.id]
        assert await knowledge.collect_pending(tx, limit=1) == 1
        assert set(await remembered(tx)) == {first.id, second.id}

    async def test_takes_up_what_was_indexed_before_there_was_a_model(self, tx: Tx, given: Given) -> None:
        await given.communication(user=await given.user())
        assert await knowledge.collect_pending(tx) == 0
        assert await collect(tx) == 1

    async def test_takes_a_transcript_up_once_it_is_somebodys(self, tx: Tx, given: Given) -> None:
        talk = await given.row("meeting_transcriptions", title="T", meeting_date=tx.now, transcription_text="Hello.")
        await collect(tx)
        rep = await given.user()
        await tx.run("UPDATE meeting_transcriptions SET user_id = %(rep)s", rep=rep.user_id)
        assert await collect(tx) == 1
        assert await find(tx, rep, "hello") == [talk.id]

    async def test_reads_a_changed_text_again(self, db: Database) -> None:
        async with db.transaction() as tx:
            given = Given(tx)
            mail = await given.communication(user=await given.user(), full_content="Before.")
            await collect(tx)
        async with db.transaction() as tx:
            await tx.run("UPDATE communications SET full_content = 'After.' WHERE id = %(id)s", id=mail.id)
        async with db.transaction() as tx:
            assert await knowledge.collect_pending(tx) == 1
            assert await tx.many(str, "SELECT content FROM knowledge_chunks WHERE embedding IS NULL") == ["After."]

    async def test_keeps_the_vector_when_only_the_star_has_changed(self, db: Database) -> None:
        async with db.transaction() as tx:
            given = Given(tx)
            await given.communication(user=await given.user())
            await collect(tx)
        async with db.transaction() as tx:
            await tx.run("UPDATE communications SET is_starred = true")
        async with db.transaction() as tx:
            assert await knowledge.collect_pending(tx) == 0
            assert await knowledge.queue_everything(tx) == 1
            assert await knowledge.collect_pending(tx) == 1
            assert await tx.one(int, "SELECT count(embedding) FROM knowledge_chunks") == 1

    async def test_shares_the_work_between_two_collectors(self, db: Database) -> None:
        async with db.transaction() as tx:
            given = Given(tx)
            await vectors.adopt(tx, EMBEDDER.model, 64)
            rep = await given.user()
            for _ in range(6):
                await given.communication(user=rep)

        async def collect_the_rest() -> int:
            async with db.transaction() as other:
                return await knowledge.collect_pending(other, limit=4)

        async with db.transaction() as one:
            assert await knowledge.collect_pending(one, limit=4) == 4
            # It has taken its share and waits only to promise what is promised already.
            rest = asyncio.create_task(collect_the_rest())
            async with asyncio.timeout(10), db.reading() as tx:
                while not await tx.one(int, "SELECT count(*) FROM pg_locks WHERE NOT granted"):  # noqa: ASYNC110 - Postgres tells nobody who waits
                    await asyncio.sleep(0.01)
        assert await rest == 2
        async with db.reading() as tx:
            assert len(await remembered(tx)) == 6

    async def test_takes_a_restored_communication_up_again(self, db: Database) -> None:
        async with db.transaction() as tx:
            given = Given(tx)
            mail = await given.communication(user=await given.user())
            await collect(tx)
        async with db.transaction() as tx:
            await tx.run("UPDATE communications SET excluded_at = now()")
            assert await remembered(tx) == []
        async with db.transaction() as tx:
            await tx.run("UPDATE communications SET excluded_at = NULL")
            assert await knowledge.collect_pending(tx) == 1
            assert await remembered(tx) == [mail.id]


class TestIndexSource:
    async def test_remembers_a_text_of_any_kind(self, tx: Tx, given: Given) -> None:
        await vectors.adopt(tx, EMBEDDER.model, 64)
        acme, report = await given.company(), uuid4()
        assert (
            await knowledge.index_source(tx, "research", report, "They sell pumps.", title="Acme", company_id=acme.id)
            == 1
        )
        rep = await given.user()
        assert await find(tx, rep, "pumps", company_id=acme.id) == [report]
        assert await knowledge.forget_source(tx, "research", report)
        assert await find(tx, rep, "pumps") == []

    async def test_reads_a_hostile_text_to_a_limit(self, tx: Tx) -> None:
        await vectors.adopt(tx, EMBEDDER.model, 64)
        assert await knowledge.index_source(tx, "research", uuid4(), "word " * 400_000) <= 500


class TestSearchKnowledge:
    async def test_gives_reps_their_own_and_managers_everything(self, tx: Tx, given: Given) -> None:
        one, other, manager = await given.user(), await given.user(), await given.user("manager")
        mine = await given.communication(user=one, full_content="The budget is tight.")
        theirs = await given.communication(user=other, full_content="The budget is tight.")
        note = await given.row("relationship_notes", company_id=(await given.company()).id, note="The budget is tight.")
        await collect(tx)
        query = "budget is tight"
        assert set(await find(tx, one, query)) == {mine.id, note.id}
        assert set(await find(tx, other, query)) == {theirs.id, note.id}
        for caller in (manager, SYSTEM):
            assert set(await find(tx, caller, query)) == {mine.id, theirs.id, note.id}

    async def test_gives_an_agent_the_rights_of_its_person(self, tx: Tx, given: Given) -> None:
        rep = await given.user()
        await given.communication(user=await given.user(), full_content="A secret budget.")
        await collect(tx)
        assert await find(tx, rep.for_run(uuid4()), "secret budget") == []

    async def test_keeps_within_a_company_and_off_the_text_that_asks(self, tx: Tx, given: Given) -> None:
        rep, acme = await given.user(), await given.company()
        here = await given.communication(user=rep, company=acme, full_content="The budget.")
        asking = await given.communication(user=rep, company=acme, full_content="The budget?")
        await given.communication(user=rep, full_content="The budget.")
        await collect(tx)
        assert await find(tx, rep, "budget", company_id=acme.id, without_source_id=asking.id) == [here.id]

    async def test_finds_words_without_a_question_vector(self, tx: Tx, given: Given) -> None:
        rep = await given.user()
        mail = await given.communication(user=rep, full_content="Order 4500087213 is late.")
        await collect(tx)
        hits = await knowledge.search_knowledge(tx, rep, KnowledgeSearchIn(query="4500087213"))
        assert [(hit.source_id, hit.similarity) for hit in hits] == [(mail.id, None)]

    @pytest.mark.parametrize(
        "told",
        [{"query": ""}, {"query": "   "}, {"query": "x" * 2001}, {"query": "a\x00b"}, {"limit": 0}, {"limit": 51},
         {"min_similarity": 1.1}, {"source_types": ["gossip"]}, {"unknown": 1}, {"company_id": "acme"}],
    )  # fmt: skip
    def test_refuses_a_malformed_search(self, told: dict[str, Any]) -> None:
        with pytest.raises(ValidationError):
            KnowledgeSearchIn.model_validate({"query": "budget"} | told)


class TestGetKnowledgeState:
    async def test_counts_what_waits(self, tx: Tx, given: Given) -> None:
        empty = KnowledgeStateRow(model=None, dimensions=None, building=None, sources=0, chunks=0, pending=0, failed=0)
        assert await knowledge.get_knowledge_state(tx) == empty
        rep = await given.user()
        for _ in range(3):
            await given.communication(user=rep)
        await collect(tx)
        await given.communication(user=rep)
        await given.communication(user=rep)
        await knowledge.collect_pending(tx)
        await tx.run(
            "UPDATE knowledge_chunks SET attempts = 5"
            " WHERE id = (SELECT id FROM knowledge_chunks WHERE embedding IS NULL LIMIT 1)"
        )
        assert await knowledge.get_knowledge_state(tx) == KnowledgeStateRow(
            model="hashing-64", dimensions=64, building=None, sources=5, chunks=5, pending=1, failed=1
        )


class TestHybrid:
    async def test_is_never_below_the_better_of_its_parts(self, db: Database) -> None:
        """A hundred questions about a corpus of our own, with the model that is shipped."""
        embedder = open_embedder("local")
        scores = await bench.score_questions(db, embedder)
        await embedder.close()
        meaning, words, hybrid = scores["meaning"], scores["words"], scores["hybrid"]
        assert hybrid.first >= max(meaning.first, words.first) + 0.03
        assert hybrid.in_five >= max(meaning.in_five, words.in_five) + 0.02
        assert hybrid.reciprocal_rank >= max(meaning.reciprocal_rank, words.reciprocal_rank) + 0.03
        assert hybrid.in_five >= 0.9
