"""
Chunks: what is written, claimed, embedded and forgotten.

    write_sources ──> rows without vectors ──claim_pending──> texts ──(no transaction)──> store_vectors

Rows are found by their words as soon as they are written, and by their meaning as soon as they have a vector.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Literal
from uuid import UUID

from memory.db import Tx
from memory.embeddings import Floats
from memory.rows import Row
from memory.vectors.chunking import hash_text, split_text

SourceType = Literal["communication", "transcript", "note", "research", "summary", "intelligence_source", "email_reply"]

LEASE = timedelta(minutes=10)
ATTEMPTS = 5


@dataclass(frozen=True, slots=True)
class Source:
    """
    A text to remember, and who may find it: `owner_user_id` None is visible to everybody in the workspace.

    The title stands before every chunk when it is read for its meaning; quotes come from `text` alone.
    """

    source_type: SourceType
    source_id: UUID
    text: str
    title: str = ""
    company_id: UUID | None = None
    contact_id: UUID | None = None
    deal_id: UUID | None = None
    owner_user_id: UUID | None = None
    occurred_at: datetime | None = None

    @property
    def text_hash(self) -> str:
        """What tells whether the text has changed since it was indexed."""
        return hash_text(self.title, self.text)


class PendingRow(Row):
    """One chunk that a worker has claimed to embed."""

    id: UUID
    title: str
    content: str
    content_hash: str

    @property
    def text(self) -> str:
        """What the model reads."""
        return f"{self.title}\n{self.content}" if self.title else self.content


async def write_sources(tx: Tx, sources: Sequence[Source]) -> int:
    """
    Cut the texts into chunks and write those that are new or changed, for every model in use; drop the superfluous.

    A chunk whose text is as before keeps its vector. Answers with how many chunks now wait for one; their embedding
    is promised.
    """
    if not sources:
        return 0
    chunks = [(source, index, chunk) for source in sources for index, chunk in enumerate(split_text(source.text))]
    await _record_sources(tx, sources, chunks)
    waiting = await _write_chunks(tx, chunks)
    await tx.run(
        """
        DELETE FROM knowledge_chunks c
         USING knowledge_sources s, unnest(%(types)s::text[], %(ids)s::uuid[]) AS given (type, id)
         WHERE s.source_type = given.type AND s.source_id = given.id
           AND c.source_type = given.type AND c.source_id = given.id AND c.chunk_index >= s.chunks
        """,
        types=[source.source_type for source in sources],
        ids=[source.source_id for source in sources],
    )
    if waiting:
        await promise_embedding(tx)
    return waiting


async def promise_embedding(tx: Tx) -> None:
    """Promise that a worker embeds what waits; many promises are one."""
    await tx.enqueue("knowledge.embed_pending", key="knowledge.embed_pending")


async def _record_sources(tx: Tx, sources: Sequence[Source], chunks: Iterable[tuple[Source, int, str]]) -> None:
    sizes: dict[tuple[str, UUID], int] = {}
    for source, index, _ in chunks:
        sizes[source.source_type, source.source_id] = index + 1
    await tx.run(
        """
        INSERT INTO knowledge_sources (source_type, source_id, text_hash, chunks, indexed_at)
        SELECT given.*, %(now)s
          FROM unnest(%(types)s::text[], %(ids)s::uuid[], %(hashes)s::text[], %(sizes)s::int[]) AS given
         WHERE EXISTS (SELECT FROM knowledge_models WHERE state = 'answering')  -- else a later pass takes it up
         ORDER BY 1, 2
            ON CONFLICT (source_type, source_id) DO UPDATE
               SET text_hash = excluded.text_hash, chunks = excluded.chunks, indexed_at = excluded.indexed_at
        """,
        types=[source.source_type for source in sources],
        ids=[source.source_id for source in sources],
        hashes=[source.text_hash for source in sources],
        sizes=[sizes.get((source.source_type, source.source_id), 0) for source in sources],
        now=tx.now,
    )


async def _write_chunks(tx: Tx, chunks: Sequence[tuple[Source, int, str]]) -> int:
    written = await tx.many(
        bool,
        """
        INSERT INTO knowledge_chunks AS c (source_type, source_id, chunk_index, company_id, contact_id, deal_id,
                                           owner_user_id, occurred_at, title, content, content_hash,
                                           embedding_model, dimensions)
        SELECT given.*, m.model, m.dimensions
          FROM unnest(%(types)s::text[], %(ids)s::uuid[], %(indexes)s::int[], %(companies)s::uuid[],
                      %(contacts)s::uuid[], %(deals)s::uuid[], %(owners)s::uuid[], %(moments)s::timestamptz[],
                      %(titles)s::text[], %(contents)s::text[], %(hashes)s::text[]) AS given
         CROSS JOIN knowledge_models m
         WHERE m.state IN ('building', 'answering')
            ON CONFLICT (source_type, source_id, chunk_index, embedding_model) DO UPDATE
               SET company_id = excluded.company_id, contact_id = excluded.contact_id, deal_id = excluded.deal_id,
                   owner_user_id = excluded.owner_user_id, occurred_at = excluded.occurred_at,
                   title = excluded.title, content = excluded.content, content_hash = excluded.content_hash,
                   embedding = CASE WHEN c.content_hash = excluded.content_hash THEN c.embedding END,
                   attempts = CASE WHEN c.content_hash = excluded.content_hash THEN c.attempts ELSE 0 END,
                   claimed_at = CASE WHEN c.content_hash = excluded.content_hash THEN c.claimed_at END
             WHERE (c.content_hash, c.company_id, c.contact_id, c.deal_id, c.owner_user_id, c.occurred_at)
                   IS DISTINCT FROM (excluded.content_hash, excluded.company_id, excluded.contact_id,
                                     excluded.deal_id, excluded.owner_user_id, excluded.occurred_at)
        RETURNING c.embedding IS NULL
        """,
        **_columns(chunks),
    )
    return sum(written)


def _columns(chunks: Sequence[tuple[Source, int, str]]) -> dict[str, list[Any]]:
    return {
        "types": [source.source_type for source, _, _ in chunks],
        "ids": [source.source_id for source, _, _ in chunks],
        "indexes": [index for _, index, _ in chunks],
        "companies": [source.company_id for source, _, _ in chunks],
        "contacts": [source.contact_id for source, _, _ in chunks],
        "deals": [source.deal_id for source, _, _ in chunks],
        "owners": [source.owner_user_id for source, _, _ in chunks],
        "moments": [source.occurred_at for source, _, _ in chunks],
        "titles": [source.title for source, _, _ in chunks],
        "contents": [content for _, _, content in chunks],
        "hashes": [hash_text(source.title, content) for source, _, content in chunks],
    }


async def forget_source(tx: Tx, source_type: SourceType, source_id: UUID) -> bool:
    """Delete every chunk of a source, for every model; tells whether there was anything to forget."""
    return (
        await tx.run(
            "DELETE FROM knowledge_sources WHERE source_type = %(source_type)s AND source_id = %(source_id)s",
            source_type=source_type,
            source_id=source_id,
        )
        > 0
    )


# Embedding ----------------------------------------------------------------------------------------------------------


async def claim_pending(tx: Tx, model: str, *, limit: int = 64) -> list[PendingRow]:
    """
    Claim chunks that have no vector of this model yet, the oldest first; nobody else gets them for ten minutes.

    Commit before embedding them: a transaction never spans a model. After five attempts a chunk is left alone.
    """
    return await tx.many(
        PendingRow,
        """
        UPDATE knowledge_chunks
           SET claimed_at = %(now)s, attempts = attempts + 1
         WHERE id IN (SELECT id FROM knowledge_chunks
                       WHERE embedding_model = %(model)s AND embedding IS NULL AND attempts < %(attempts)s
                         AND (claimed_at IS NULL OR claimed_at < %(now)s - %(lease)s::interval)
                       ORDER BY created_at
                       LIMIT %(limit)s
                         FOR UPDATE SKIP LOCKED)
        RETURNING id, title, content, content_hash
        """,
        model=model,
        limit=limit,
        attempts=ATTEMPTS,
        lease=LEASE,
        now=tx.now,
    )


async def store_vectors(tx: Tx, rows: Sequence[PendingRow], vectors: Sequence[Floats]) -> int:
    """Give the claimed chunks their vectors, except where the text has changed since; answers with how many got one."""
    return await tx.run(
        """
        UPDATE knowledge_chunks c
           SET embedding = given.vector::vector, claimed_at = NULL
          FROM unnest(%(ids)s::uuid[], %(hashes)s::text[], %(vectors)s::text[]) AS given (id, hash, vector)
         WHERE c.id = given.id AND c.content_hash = given.hash
        """,
        ids=[row.id for row in rows],
        hashes=[row.content_hash for row in rows],
        vectors=[as_text(vector) for vector in vectors],
    )


async def release(tx: Tx, rows: Sequence[PendingRow], *, blameless: bool) -> None:
    """Give claimed chunks back; `blameless` when the model was away, which is not counted as an attempt."""
    await tx.run(
        """
        UPDATE knowledge_chunks SET claimed_at = NULL, attempts = attempts - %(returned)s
         WHERE id = ANY (%(ids)s) AND embedding IS NULL
        """,
        ids=[row.id for row in rows],
        returned=int(blameless),
    )


def as_text(vector: Floats) -> str:
    """Return the vector as pgvector reads it; nine digits bring every float32 back."""
    return "[" + ",".join(map("{:.9g}".format, vector.tolist())) + "]"
