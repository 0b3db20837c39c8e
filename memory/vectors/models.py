"""
Whose vectors answer: one model at a time, and how another one takes over without a gap.

    adopt ──> building ──copy_chunks──> embedded chunk by chunk ──promote──> answering ──> retired ──prune──> gone

While a model is building, new texts are embedded for it and for the one that answers.
"""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from hashlib import sha256
from typing import Literal, LiteralString, cast

from psycopg import sql

from memory.db import Connection, Database, Tx
from memory.embeddings import Embedder
from memory.errors import Outage
from memory.rows import Row

State = Literal["building", "answering", "retired"]

# Measured by tests/bench/memory.py at 100,000 rows: with 16 and 100 one build in four lost a cluster of one per cent.
M, EF_CONSTRUCTION = 24, 128
BUILD_MEMORY = "512MB"
_COPIED_AT_ONCE = 5_000


class DimensionsChanged(Outage):
    """The vectors of {model} have {stored} dimensions, not {given}; give the new ones a model name of their own."""


class ModelRow(Row):
    """One model whose vectors are, were or will be in use."""

    model: str
    dimensions: int
    state: State


class RebuildRow(Row):
    """How far the takeover by another model is."""

    model: str
    missing: int
    pending: int


async def list_models(tx: Tx) -> list[ModelRow]:
    """Return every model, the answering one first."""
    return await tx.many(ModelRow, "SELECT model, dimensions, state FROM knowledge_models ORDER BY state, model")


async def find_answering(tx: Tx) -> ModelRow | None:
    """Return the model whose vectors answer, or None before the first one is adopted."""
    return await tx.maybe(ModelRow, "SELECT model, dimensions, state FROM knowledge_models WHERE state = 'answering'")


async def adopt(tx: Tx, model: str, dimensions: int) -> State:
    """
    Make the configured model the one to answer: at once when there is none, else as soon as its vectors are complete.

    Answers with its state; `building` promises the job `knowledge.rebuild`. Going back to the answering model drops
    what had been built.

    Raises `DimensionsChanged`.
    """
    await tx.lock("knowledge_models")
    known = {row.model: row for row in await list_models(tx)}
    if model in known and known[model].dimensions != dimensions:
        raise DimensionsChanged(model=model, stored=known[model].dimensions, given=dimensions)
    if model in known and known[model].state != "retired":
        state = known[model].state
    else:
        state = "building" if any(row.state == "answering" for row in known.values()) else "answering"
    await _set_state(tx, ModelRow(model=model, dimensions=dimensions, state=state))
    if state == "building":
        await tx.enqueue("knowledge.rebuild", key="knowledge.rebuild")
    return state


async def _set_state(tx: Tx, row: ModelRow) -> None:
    """Write the model's state; whatever else was being built is given up."""
    await tx.run(
        "UPDATE knowledge_models SET state = 'retired' WHERE state = 'building' AND model <> %(model)s", model=row.model
    )
    await tx.run(
        """
        INSERT INTO knowledge_models AS m (model, dimensions, state, answering_since)
        VALUES (%(model)s, %(dimensions)s, %(state)s,
                CASE WHEN %(state)s = 'answering' THEN %(now)s::timestamptz END)
            ON CONFLICT (model) DO UPDATE SET state = excluded.state WHERE m.state <> excluded.state
        """,
        model=row.model,
        dimensions=row.dimensions,
        state=row.state,
        now=tx.now,
    )


async def prepare(db: Database, embedder: Embedder) -> State:
    """
    Adopt the configured model and build the index of the one that answers; at start-up, and again at no cost.

    Raises `DimensionsChanged`, and what the embedder raises when nobody knows its dimensions (`Outage`).
    """
    await embedder.ready()
    async with db.transaction() as tx:
        state = await adopt(tx, embedder.model, embedder.dimensions)
        answering = await find_answering(tx)
    if answering is not None:
        await ensure_index(db, answering.model, answering.dimensions)
    return state


# Taking over --------------------------------------------------------------------------------------------------------


async def find_rebuild(tx: Tx) -> RebuildRow | None:
    """Return what the building model still lacks, or None when none is building."""
    return await tx.maybe(
        RebuildRow,
        """
        SELECT m.model,
               (SELECT count(*) FROM knowledge_chunks c
                 WHERE c.embedding_model = a.model AND NOT EXISTS (
                       SELECT FROM knowledge_chunks n
                        WHERE n.embedding_model = m.model AND n.source_type = c.source_type
                          AND n.source_id = c.source_id AND n.chunk_index = c.chunk_index)) AS missing,
               (SELECT count(*) FROM knowledge_chunks c
                 WHERE c.embedding_model = m.model AND c.embedding IS NULL AND c.attempts < 5) AS pending
          FROM knowledge_models m
          LEFT JOIN knowledge_models a ON a.state = 'answering'
         WHERE m.state = 'building'
        """,
    )


async def copy_chunks(tx: Tx, *, limit: int = _COPIED_AT_ONCE) -> int:
    """Give the building model rows, still without vectors, for chunks it lacks; answers with how many it got."""
    return await tx.run(
        """
        INSERT INTO knowledge_chunks (source_type, source_id, chunk_index, company_id, contact_id, deal_id,
                                      owner_user_id, title, content, content_hash, embedding_model, dimensions,
                                      occurred_at)
        SELECT c.source_type, c.source_id, c.chunk_index, c.company_id, c.contact_id, c.deal_id,
               c.owner_user_id, c.title, c.content, c.content_hash, m.model, m.dimensions, c.occurred_at
          FROM knowledge_models m
          JOIN knowledge_models a ON a.state = 'answering'
          JOIN knowledge_chunks c ON c.embedding_model = a.model
          JOIN knowledge_sources s ON s.source_type = c.source_type AND s.source_id = c.source_id
         WHERE m.state = 'building'
           AND NOT EXISTS (SELECT FROM knowledge_chunks n
                            WHERE n.embedding_model = m.model AND n.source_type = c.source_type
                              AND n.source_id = c.source_id AND n.chunk_index = c.chunk_index)
         LIMIT %(limit)s
           FOR KEY SHARE OF s
            ON CONFLICT (source_type, source_id, chunk_index, embedding_model) DO NOTHING
        """,
        limit=limit,
    )


async def promote(tx: Tx) -> bool:
    """Let the building model answer if it has a vector for every chunk; tells whether it does now."""
    await tx.lock("knowledge_models")
    rebuild = await find_rebuild(tx)
    if rebuild is None or rebuild.missing or rebuild.pending:
        return False
    await tx.run("UPDATE knowledge_models SET state = 'retired' WHERE state = 'answering'")
    await tx.run(
        "UPDATE knowledge_models SET state = 'answering', answering_since = %(now)s WHERE model = %(model)s",
        model=rebuild.model,
        now=tx.now,
    )
    return True


async def prune_retired(tx: Tx, *, limit: int = _COPIED_AT_ONCE) -> int:
    """Delete vectors that no longer answer, so many at a time; answers with how many went."""
    gone = await tx.run(
        """
        DELETE FROM knowledge_chunks WHERE id IN (
            SELECT c.id FROM knowledge_chunks c JOIN knowledge_models m ON m.model = c.embedding_model
             WHERE m.state = 'retired' LIMIT %(limit)s)
        """,
        limit=limit,
    )
    if gone < limit:
        await tx.run(
            """
            DELETE FROM knowledge_models m
             WHERE m.state = 'retired' AND NOT EXISTS (SELECT FROM knowledge_chunks c WHERE c.embedding_model = m.model)
            """
        )
    return gone


# The index ----------------------------------------------------------------------------------------------------------


def index_name(model: str) -> str:
    """Return the name of the model's index; models are named freely, so it is a hash."""
    return f"knowledge_chunks_hnsw_{sha256(model.encode()).hexdigest()[:12]}"


async def ensure_index(db: Database, model: str, dimensions: int) -> bool:
    """
    Build the approximate index over the vectors of one model, unless it stands; tells whether this call built it.

    Half precision: the index takes half the room, models may have up to 4,000 dimensions, and search ranks what it
    finds by the full vectors. Writers are not held up; when another process is building, this one leaves it to it.
    """
    async with db.pool.connection() as connection, _sole_builder(connection) as may:
        if not may or await _stands(connection, model):
            return False
        # What a broken build left behind is there by name but invalid, and IF NOT EXISTS would take it for good.
        await connection.execute(
            sql.SQL("DROP INDEX CONCURRENTLY IF EXISTS {}").format(sql.Identifier(index_name(model)))
        )
        await connection.execute("SELECT set_config('maintenance_work_mem', %s, false)", [BUILD_MEMORY])
        try:
            await connection.execute(_create_index(model, dimensions))
        finally:
            await connection.execute("RESET maintenance_work_mem")
        return True


async def drop_unused_indexes(db: Database) -> list[str]:
    """Drop the indexes of models that are gone, and return their names."""
    async with db.pool.connection() as connection, _sole_builder(connection) as may:
        if not may:
            return []
        cursor = await connection.execute("SELECT model FROM knowledge_models")
        used = {index_name(row[0]) for row in await cursor.fetchall()}
        cursor = await connection.execute(
            "SELECT indexname FROM pg_indexes WHERE schemaname = current_schema() AND indexname LIKE 'knowledge_chunks_hnsw_%'"
        )
        unused = [row[0] for row in await cursor.fetchall() if row[0] not in used]
        for name in unused:
            await connection.execute(sql.SQL("DROP INDEX CONCURRENTLY IF EXISTS {}").format(sql.Identifier(name)))
        return unused


@asynccontextmanager
async def _sole_builder(connection: Connection) -> AsyncIterator[bool]:
    """Hold a lock of the session: CONCURRENTLY knows no transaction, and waits for everybody who waits for a lock."""
    cursor = await connection.execute("SELECT pg_try_advisory_lock(hashtextextended('knowledge_index', 0))")
    row = await cursor.fetchone()
    may = bool(row and row[0])
    try:
        yield may
    finally:
        if may:
            await connection.execute("SELECT pg_advisory_unlock(hashtextextended('knowledge_index', 0))")


async def _stands(connection: Connection, model: str) -> bool:
    cursor = await connection.execute(
        "SELECT indisvalid FROM pg_index WHERE indexrelid = to_regclass(%s)", [index_name(model)]
    )
    row = await cursor.fetchone()
    return bool(row and row[0])


def _create_index(model: str, dimensions: int) -> sql.Composed:
    return sql.SQL(
        cast(
            LiteralString,
            "CREATE INDEX CONCURRENTLY {} ON knowledge_chunks USING hnsw ((embedding::halfvec({})) halfvec_cosine_ops)"
            " WITH (m = {}, ef_construction = {}) WHERE embedding_model = {}",
        )
    ).format(
        sql.Identifier(index_name(model)),
        sql.Literal(dimensions),
        sql.Literal(M),
        sql.Literal(EF_CONSTRUCTION),
        sql.Literal(model),
    )
