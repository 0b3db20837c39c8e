"""Things to remember, and who may: rows and texts for the tests of vector memory."""

import uuid
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

from memory import vectors
from memory.db import Tx
from memory.embeddings.hashing import HashingEmbedder

EMBEDDER = HashingEmbedder(64)
OTHER = HashingEmbedder(32)
MOMENT = datetime(2026, 3, 2, 9, tzinfo=UTC)


def source(text: str, **told: Any) -> vectors.Source:
    """Return a note that everybody may read, but for what is told otherwise."""
    fields: dict[str, Any] = {"source_type": "note", "source_id": uuid.uuid4(), **told}
    return vectors.Source(text=text, **fields)


async def user(tx: Tx, role: str = "rep") -> UUID:
    name = uuid.uuid4().hex
    return await tx.one(
        UUID,
        "INSERT INTO users (auth_id, email, name, role) VALUES (%(name)s, %(name)s || '@x.test', %(name)s, %(role)s)"
        " RETURNING id",
        name=name,
        role=role,
    )


async def company(tx: Tx) -> UUID:
    return await tx.one(
        UUID,
        "INSERT INTO companies (name, normalized_name, segment, industry) VALUES (%(name)s, %(name)s, 's', 'i')"
        " RETURNING id",
        name=uuid.uuid4().hex,
    )


async def communication(tx: Tx, user_id: UUID, **told: Any) -> UUID:
    return await tx.one(
        UUID,
        """
        INSERT INTO communications (user_id, company_id, channel, direction, occurred_at, external_id, thread_id, subject)
        VALUES (%(user_id)s, %(company_id)s, 'email', 'inbound', %(now)s, %(ref)s, %(ref)s, 'Subject')
        RETURNING id
        """,
        **{"company_id": None, **told},
        user_id=user_id,
        ref=uuid.uuid4().hex,
    )


async def embed_all(tx: Tx, embedder: HashingEmbedder = EMBEDDER) -> int:
    stored = 0
    while rows := await vectors.claim_pending(tx, embedder.model):
        stored += await vectors.store_vectors(tx, rows, await embedder.embed([row.text for row in rows]))
    return stored


async def remember(tx: Tx, *sources: vectors.Source) -> None:
    """Write the texts and give them their vectors."""
    await vectors.adopt(tx, EMBEDDER.model, EMBEDDER.dimensions)
    await vectors.write_sources(tx, sources)
    await embed_all(tx)


async def found(tx: Tx, text: str, scope: vectors.Scope | None = None, **told: Any) -> list[UUID]:
    question = await vectors.ask(text, EMBEDDER)
    return [hit.source_id for hit in await vectors.search(tx, question, scope or vectors.Scope(None), **told)]


SPEECH = " ".join(f"Sentence number {number} says something about item {number * 7}." for number in range(120))
