"""
Knowledge: what was written and said, found again by meaning and by words, by those who may read it.

Reps find their own communications and transcripts and what is everybody's (notes, research); managers find all.
Chunks follow their source: erased, excluded or noise, they are gone; handed on, they belong to the new owner.
"""

from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import LiteralString
from uuid import UUID

from pydantic import AwareDatetime, Field

from memory import vectors
from memory.callers import Caller
from memory.db import Tx
from memory.rows import In, Row

KnowledgeHit = vectors.Hit
COLLECTED_AFTER = timedelta(seconds=5)

# A transcript of a long day; beyond that nobody reads, and a hostile mail costs no more than this.
_LONGEST_TEXT = 400_000


class KnowledgeSearchIn(In):
    """What to look for, and where. A company, contact or deal makes the search exact."""

    query: str = Field(min_length=1, max_length=2000)
    company_id: UUID | None = None
    contact_id: UUID | None = None
    deal_id: UUID | None = None
    source_types: list[vectors.SourceType] = Field(default_factory=list[vectors.SourceType], max_length=7)
    since: AwareDatetime | None = None
    without_source_id: UUID | None = Field(default=None, description="Leaves out the text that asks.")
    min_similarity: float | None = Field(default=None, ge=0, le=1, description="Least cosine of a hit.")
    limit: int = Field(default=8, ge=1, le=50)


class KnowledgeStateRow(Row):
    """How much is remembered, and how much still waits for a vector of the model that is to answer."""

    model: str | None
    dimensions: int | None
    building: str | None
    sources: int
    chunks: int
    pending: int
    failed: int


async def search_knowledge(
    tx: Tx, caller: Caller, search: KnowledgeSearchIn, *, question: vectors.Question | None = None
) -> list[KnowledgeHit]:
    """
    Find the chunks that answer best among those the caller may read.

    The question's vector comes from a model, so ask before the transaction: `await asker.ask(search.query)` with the
    process's `vectors.Asker`. Without it the search is by words alone.
    """
    scope = vectors.Scope(
        reader_id=caller.scope,
        company_id=search.company_id,
        contact_id=search.contact_id,
        deal_id=search.deal_id,
        source_types=search.source_types,
        since=search.since,
        without_source_id=search.without_source_id,
    )
    return await vectors.search(
        tx,
        question or vectors.Question(search.query),
        scope,
        limit=search.limit,
        min_similarity=search.min_similarity,
    )


async def get_knowledge_state(tx: Tx) -> KnowledgeStateRow:
    """Return the model that answers and how far indexing is."""
    return await tx.one(
        KnowledgeStateRow,
        """
        SELECT a.model, a.dimensions, b.model AS building,
               (SELECT count(*) FROM knowledge_sources) AS sources,
               (SELECT count(*) FROM knowledge_chunks WHERE embedding_model = a.model) AS chunks,
               count(*) FILTER (WHERE w.attempts < %(attempts)s) AS pending,
               count(*) FILTER (WHERE w.attempts >= %(attempts)s) AS failed
          FROM (SELECT 1) AS always
          LEFT JOIN knowledge_models a ON a.state = 'answering'
          LEFT JOIN knowledge_models b ON b.state = 'building'
          LEFT JOIN knowledge_chunks w
            ON w.embedding IS NULL AND w.embedding_model = coalesce(b.model, a.model)
         GROUP BY a.model, a.dimensions, b.model
        """,
        attempts=vectors.ATTEMPTS,
    )


async def index_source(
    tx: Tx,
    source_type: vectors.SourceType,
    source_id: UUID,
    text: str,
    *,
    title: str = "",
    company_id: UUID | None = None,
    contact_id: UUID | None = None,
    deal_id: UUID | None = None,
    owner_user_id: UUID | None = None,
    occurred_at: datetime | None = None,
) -> int:
    """
    Remember one text, or its present state if it is remembered already; answers with how many chunks wait for a vector.

    Without an owner everybody in the workspace finds it. The vectors are promised, not made here.
    """
    source = vectors.Source(
        source_type=source_type,
        source_id=source_id,
        text=text[:_LONGEST_TEXT],
        title=title,
        company_id=company_id,
        contact_id=contact_id,
        deal_id=deal_id,
        owner_user_id=owner_user_id,
        occurred_at=occurred_at,
    )
    return await vectors.write_sources(tx, [source])


async def promise_collecting(tx: Tx) -> None:
    """Have what is new indexed in a few seconds; many promises in between are one."""
    await tx.enqueue("knowledge.collect", key="knowledge.collect", at=tx.now + COLLECTED_AFTER)


async def forget_source(tx: Tx, source_type: vectors.SourceType, source_id: UUID) -> bool:
    """Forget a text and its vectors; tells whether it was remembered."""
    return await vectors.forget_source(tx, source_type, source_id)


# Collecting ---------------------------------------------------------------------------------------------------------


class _QueuedRow(Row):
    source_type: vectors.SourceType
    source_id: UUID


async def collect_pending(tx: Tx, *, limit: int = 200) -> int:
    """
    Index up to `limit` communications, transcripts, notes and summaries that are new or have changed.

    Answers with how many were taken from the queue; fewer than `limit` means that nothing is left. What is noise,
    excluded or nobody's is left out, and queued again by what makes it otherwise. The sources are locked until the
    transaction ends, so none is excluded meanwhile; two collectors take different ones.
    """
    queued = await tx.many(
        _QueuedRow,
        """
        DELETE FROM knowledge_queue
         WHERE id IN (SELECT id FROM knowledge_queue ORDER BY id LIMIT %(limit)s FOR UPDATE SKIP LOCKED)
           AND EXISTS (SELECT FROM knowledge_models WHERE state = 'answering')
        RETURNING source_type, source_id
        """,
        limit=limit,
    )
    sources: list[vectors.Source] = []
    for source_type, select in _SELECTS.items():
        ids = sorted({row.source_id for row in queued if row.source_type == source_type})
        if ids:
            rows = await tx.many(_SourceRow, select, ids=ids, longest=_LONGEST_TEXT)
            sources += [vectors.Source(source_type=source_type, **dict(row)) for row in rows]
    await vectors.write_sources(tx, sources)
    return len(queued)


async def queue_everything(tx: Tx) -> int:
    """Queue every source to be read again, as after a change of how texts are cut; answers with how many."""
    return await tx.run(
        """
        INSERT INTO knowledge_queue (source_type, source_id)
        SELECT 'communication', id FROM communications WHERE excluded_at IS NULL AND noise_type IS NULL
         UNION ALL SELECT 'transcript', id FROM meeting_transcriptions
         UNION ALL SELECT 'note', id FROM relationship_notes WHERE deleted_at IS NULL
         UNION ALL SELECT 'summary', id FROM ai_summaries WHERE audience_id IS NOT NULL
        """
    )


class _SourceRow(Row):
    source_id: UUID
    title: str
    text: str
    company_id: UUID | None
    contact_id: UUID | None
    deal_id: UUID | None
    owner_user_id: UUID | None
    occurred_at: datetime | None


_COMMUNICATIONS: LiteralString = """
    SELECT c.id AS source_id, coalesce(c.subject, '') AS title,
           left(coalesce(c.full_content, c.content_preview, ''), %(longest)s) AS text,
           c.company_id, c.contact_id, c.deal_id, c.user_id AS owner_user_id, c.occurred_at
      FROM communications c
     WHERE c.id = ANY (%(ids)s) AND c.excluded_at IS NULL AND c.noise_type IS NULL
     ORDER BY c.id
       FOR SHARE
"""

_TRANSCRIPTS: LiteralString = """
    SELECT t.id AS source_id, t.title, left(coalesce(t.transcription_text, ''), %(longest)s) AS text,
           t.company_id, t.contact_id, t.deal_id, t.user_id AS owner_user_id, t.meeting_date AS occurred_at
      FROM meeting_transcriptions t
     WHERE t.id = ANY (%(ids)s) AND t.user_id IS NOT NULL
     ORDER BY t.id
       FOR SHARE
"""

_NOTES: LiteralString = """
    SELECT n.id AS source_id, '' AS title, left(n.note, %(longest)s) AS text,
           n.company_id, n.contact_id, NULL AS deal_id, NULL AS owner_user_id, n.added_at AS occurred_at
      FROM relationship_notes n
     WHERE n.id = ANY (%(ids)s) AND n.deleted_at IS NULL
     ORDER BY n.id
       FOR SHARE
"""

# A summary without an audience is made of everybody's mail, for those who may read all of it anyway: only a rep's own
# summaries are remembered, for that rep.
_SUMMARIES: LiteralString = """
    SELECT s.id AS source_id, replace(s.summary_type, '_', ' ') AS title, left(s.summary_text, %(longest)s) AS text,
           coalesce(s.company_id, d.company_id, k.company_id) AS company_id, s.contact_id,
           s.deal_id, s.audience_id AS owner_user_id, s.generated_at AS occurred_at
      FROM ai_summaries s
      LEFT JOIN deals d ON d.id = s.deal_id
      LEFT JOIN contacts k ON k.id = s.contact_id
     WHERE s.id = ANY (%(ids)s) AND s.audience_id IS NOT NULL
     ORDER BY s.id
       FOR SHARE OF s
"""

_SELECTS: Mapping[vectors.SourceType, LiteralString] = {
    "communication": _COMMUNICATIONS,
    "transcript": _TRANSCRIPTS,
    "note": _NOTES,
    "summary": _SUMMARIES,
}
