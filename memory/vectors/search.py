"""
Search: the scope first, then by meaning and by words within it, and one ranking from both.

                 ┌─ narrow (one company, contact or deal): every vector is compared
    by meaning ──┤
                 └─ wide: the model's HNSW index, scanned on until the scope has given enough, ranked by full vectors
    by words ──── terms weighed by how rare they are in the workspace
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from functools import lru_cache
from typing import LiteralString, cast
from uuid import UUID

import structlog

from memory.db import Tx
from memory.embeddings import Embedder, Floats
from memory.errors import Outage
from memory.rows import Row
from memory.vectors.chunks import SourceType, as_text
from memory.vectors.fusion import Found, fuse

log = structlog.stdlib.get_logger("rainmaker.memory")

DEPTH = 50
"""How many candidates each way of searching gives; the fused ranking is cut to the limit."""
EF_SEARCH = 200
MOST_TERMS = 24
# Terms are taken rarest first until the workspace is expected to hold this many chunks with one of them.
_MOST_MATCHES = 1_000
_COUNTED = 100


@dataclass(frozen=True, slots=True)
class Scope:
    """
    Where to search. `reader_id` None sees every owner's chunks, else one's own and those without an owner.

    With a company, contact or deal the scope is narrow, and the search exact.
    """

    reader_id: UUID | None
    company_id: UUID | None = None
    contact_id: UUID | None = None
    deal_id: UUID | None = None
    source_types: Sequence[SourceType] = ()
    since: datetime | None = None
    without_source_id: UUID | None = None

    @property
    def is_narrow(self) -> bool:
        """Whether it names a company, a contact or a deal."""
        return any((self.company_id, self.contact_id, self.deal_id))

    def params(self) -> dict[str, object]:
        """Return the parameters of `IN_SCOPE`."""
        return {
            "reader_id": self.reader_id,
            "company_id": self.company_id,
            "contact_id": self.contact_id,
            "deal_id": self.deal_id,
            "source_types": list(self.source_types) or None,
            "since": self.since,
            "without_source_id": self.without_source_id,
        }


@dataclass(frozen=True, slots=True)
class Question:
    """What is asked, with its vector when there is one; `vector` comes from a model, so before the transaction."""

    text: str
    model: str | None = None
    vector: Floats | None = field(default=None, repr=False)


async def ask(text: str, embedder: Embedder) -> Question:
    """
    Return the question with its vector; without one when the model is away, so that words still find something.

    Not inside a transaction: this is a model's work.
    """
    try:
        return Question(text, embedder.model, await embedder.embed_query(text))
    except Outage as failure:
        log.warning("question without a vector", model=embedder.model, reason=failure.message)
        return Question(text)


class Hit(Row):
    """
    One chunk that answers, and why: `score` 0..1 over both ways, `similarity` is the cosine, `coverage` the share of
    the question's rare words that stand in it.
    """

    chunk_id: UUID
    source_type: SourceType
    source_id: UUID
    chunk_index: int
    title: str
    content: str
    company_id: UUID | None
    contact_id: UUID | None
    deal_id: UUID | None
    occurred_at: datetime | None
    score: float
    similarity: float | None
    coverage: float | None
    meaning_rank: int | None
    words_rank: int | None


async def search(
    tx: Tx, question: Question, scope: Scope, *, limit: int = 8, min_similarity: float | None = None
) -> list[Hit]:
    """
    Return the chunks in scope that answer best, best first.

    `min_similarity` drops what is less near in meaning, unless its words cover the question whole. A question without
    a vector, or with one of a model that does not answer (yet), is searched by words alone.
    """
    answering = await tx.maybe(str, "SELECT model FROM knowledge_models WHERE state = 'answering'")
    if answering is None:
        return []
    near: list[tuple[UUID, float]] = []
    if question.vector is not None and question.model == answering:
        near = await search_meaning(tx, question, scope)
    worded = await search_words(tx, question.text, scope, answering)
    found = fuse(near, worded)
    if min_similarity is not None:
        found = [one for one in found if (one.similarity or 0) >= min_similarity or (one.coverage or 0) >= 0.999]
    return await _fetch(tx, found[:limit])


# By meaning ---------------------------------------------------------------------------------------------------------

IN_SCOPE: LiteralString = """
    c.embedding_model = %(model)s
    AND (%(reader_id)s::uuid IS NULL OR c.owner_user_id IS NULL OR c.owner_user_id = %(reader_id)s)
    AND (%(company_id)s::uuid IS NULL OR c.company_id = %(company_id)s)
    AND (%(contact_id)s::uuid IS NULL OR c.contact_id = %(contact_id)s)
    AND (%(deal_id)s::uuid IS NULL OR c.deal_id = %(deal_id)s)
    AND (%(source_types)s::text[] IS NULL OR c.source_type = ANY (%(source_types)s))
    AND (%(since)s::timestamptz IS NULL OR c.occurred_at >= %(since)s)
    AND (%(without_source_id)s::uuid IS NULL OR c.source_id <> %(without_source_id)s)
"""


class _Near(Row):
    id: UUID
    similarity: float


async def search_meaning(tx: Tx, question: Question, scope: Scope, *, depth: int = DEPTH) -> list[tuple[UUID, float]]:
    """Return the nearest chunks in scope with their cosine, nearest first: exactly where it is narrow."""
    if question.vector is None:
        return []
    statement = _EXACT if scope.is_narrow else _nearest(len(question.vector))
    rows = await tx.many(
        _Near,
        statement,
        **scope.params(),
        model=question.model,
        vector=as_text(question.vector),
        ef=str(max(EF_SEARCH, depth)),
        depth=depth,
    )
    return [(row.id, row.similarity) for row in rows]


# Ordered by the column itself, not by the indexed expression: the planner has no index to be tempted by.
_EXACT: LiteralString = f"""
    SELECT c.id, 1 - (c.embedding <=> %(vector)s::vector) AS similarity
      FROM knowledge_chunks c
     WHERE {IN_SCOPE} AND c.embedding IS NOT NULL
     ORDER BY c.embedding <=> %(vector)s::vector, c.id
     LIMIT %(depth)s
"""


@lru_cache(maxsize=16)
def _nearest(dimensions: int) -> LiteralString:
    """
    Return the statement for vectors of that many dimensions: they stand in the index's expression.

    The scan's settings (the default of 40 candidates loses one neighbour in seven, and a filter would leave too few)
    hold for this statement alone. They are set by the row that the scan then depends on, which is what makes Postgres
    set them first; a statement of their own would cost three round trips more.
    """
    half = f"halfvec({int(dimensions)})"
    return cast(
        LiteralString,
        f"""
        SELECT near.id, 1 - (near.embedding <=> asked.vector) AS similarity
          FROM (SELECT %(vector)s::vector AS vector, %(vector)s::{half} AS half,
                       set_config('hnsw.ef_search', %(ef)s, true),
                       set_config('hnsw.iterative_scan', 'relaxed_order', true),
                       set_config('hnsw.max_scan_tuples', '40000', true)) AS asked
         CROSS JOIN LATERAL (
               SELECT c.id, c.embedding
                 FROM knowledge_chunks c
                WHERE {IN_SCOPE}
                ORDER BY c.embedding::{half} <=> asked.half
                LIMIT %(depth)s) AS near
         WHERE near.embedding IS NOT NULL
         ORDER BY near.embedding <=> asked.vector, near.id
        """,
    )


# By words -----------------------------------------------------------------------------------------------------------


class _Term(Row):
    query: str
    matches: float
    rarity: float


class _Worded(Row):
    id: UUID
    coverage: float


async def search_words(tx: Tx, text: str, scope: Scope, model: str, *, depth: int = DEPTH) -> list[tuple[UUID, float]]:
    """
    Return the chunks in scope with the most of the question's rarity in words, and the share they have, best first.

    A question is not a list of required words: any one will do, rare ones count for more (BM25's weight), and words
    that stand close together decide between equals.
    """
    terms = await tx.many(_Term, _TERMS, text=text, most=MOST_TERMS, counted=_COUNTED)
    total = sum(term.rarity for term in terms)
    present = [term for term in terms if term.matches > 0]
    if not present or total <= 0:
        return []
    rows = await tx.many(
        _Worded,
        _WORDED_NARROW if scope.is_narrow else _WORDED_WIDE,
        **scope.params(),
        model=model,
        any_of=_candidates(present, narrow=scope.is_narrow),
        terms=[term.query for term in present],
        rarities=[term.rarity / total for term in present],
        every=" | ".join(term.query for term in present),
        most=20_000 if scope.is_narrow else 2 * _MOST_MATCHES,
        depth=depth,
    )
    return [(row.id, row.coverage) for row in rows]


def _candidates(terms: Sequence[_Term], *, narrow: bool) -> str:
    """Return the tsquery that finds the chunks to be ranked: rare terms first, as many as stay affordable."""
    rarest = sorted(terms, key=lambda term: term.matches)
    if narrow or rarest[0].matches > _MOST_MATCHES:
        taken = rarest
    else:
        taken, matches = [rarest[0]], rarest[0].matches
        for term in rarest[1:]:
            matches += term.matches
            if matches > _MOST_MATCHES:
                break
            taken.append(term)
    if not narrow and rarest[0].matches > _MOST_MATCHES and len(rarest) > 1:
        # Nothing but common words: at least two of them, the rarest among them.
        return f"{rarest[0].query} & ({' | '.join(term.query for term in rarest[1:])})"
    return " | ".join(term.query for term in taken)


# Postgres keeps the frequencies of the thousand commonest lexemes. What is not among them is rarer than those, and
# counted to a hundred.
_TERMS: LiteralString = r"""
    WITH size AS (
        SELECT CASE WHEN reltuples >= 1000 THEN reltuples
                    ELSE (SELECT count(*) FROM (SELECT FROM knowledge_chunks LIMIT 10000) AS few) END::float8 AS chunks
          FROM pg_class WHERE oid = 'knowledge_chunks'::regclass
    ), common AS (
        SELECT e.lexeme, e.frequency
          FROM pg_stats s,
               unnest(s.most_common_elems::text::text[], s.most_common_elem_freqs) AS e (lexeme, frequency)
         WHERE s.schemaname = current_schema() AND s.tablename = 'knowledge_chunks' AND s.attname = 'search'
           AND e.lexeme IS NOT NULL
    ), asked AS (
        SELECT DISTINCT lexeme, '''' || replace(replace(lexeme, '\', '\\'), '''', '''''') || '''' AS query
          FROM unnest(tsvector_to_array(to_tsvector('english', left(%(text)s, 4000)))) AS lexeme
         LIMIT %(most)s
    ), counted AS (
        SELECT a.query, size.chunks,
               CASE WHEN f.lexeme IS NOT NULL THEN f.frequency * size.chunks
                    WHEN few.matches < %(counted)s THEN few.matches
                    ELSE greatest(few.matches, size.chunks * least.frequency) END::float8 AS matches
          FROM asked a
         CROSS JOIN size
         CROSS JOIN (SELECT coalesce(min(frequency), 0.01) AS frequency FROM common) AS least
          LEFT JOIN common f ON f.lexeme = a.lexeme
          LEFT JOIN LATERAL (
               SELECT count(*) AS matches
                 FROM (SELECT FROM knowledge_chunks WHERE search @@ a.query::tsquery LIMIT %(counted)s) AS capped
          ) AS few ON f.lexeme IS NULL
    )
    SELECT query, matches,
           ln(1 + (greatest(chunks, top) - matches + 0.5) / (matches + 0.5)) AS rarity
      FROM (SELECT *, max(matches) OVER () AS top FROM counted) AS counted
"""

_RANKED: LiteralString = """
    , covering AS (
        SELECT m.id, m.search,
               (SELECT sum(t.rarity)
                  FROM unnest(%(terms)s::tsquery[], %(rarities)s::float8[]) AS t (query, rarity)
                 WHERE m.search @@ t.query) AS coverage
          FROM matched m
         ORDER BY coverage DESC
         LIMIT 4 * %(depth)s
    )
    SELECT id, coverage
      FROM covering
     ORDER BY coverage + 0.01 * ts_rank_cd(search, %(every)s::tsquery, 1) DESC, id
     LIMIT %(depth)s
"""

# What is joined with nothing is fetched from beside the table once, not again for each term.
_WORDED_WIDE: LiteralString = f"""
    WITH matched AS MATERIALIZED (
        SELECT c.id, c.search || ''::tsvector AS search
          FROM knowledge_chunks c
         WHERE {IN_SCOPE} AND c.search @@ %(any_of)s::tsquery
         LIMIT %(most)s
    ) {_RANKED}
"""

# IS TRUE hides the condition from the text index: it would collect every chunk of the workspace with a common word.
_WORDED_NARROW: LiteralString = f"""
    WITH matched AS MATERIALIZED (
        SELECT c.id, c.search || ''::tsvector AS search
          FROM knowledge_chunks c
         WHERE {IN_SCOPE} AND (c.search @@ %(any_of)s::tsquery) IS TRUE
         LIMIT %(most)s
    ) {_RANKED}
"""


async def _fetch(tx: Tx, found: Sequence[Found]) -> list[Hit]:
    return await tx.many(
        Hit,
        """
        SELECT c.id AS chunk_id, c.source_type, c.source_id, c.chunk_index, c.title, c.content, c.company_id,
               c.contact_id, c.deal_id, c.occurred_at, given.score, given.similarity, given.coverage,
               given.meaning_rank, given.words_rank
          FROM unnest(%(ids)s::uuid[], %(scores)s::float8[], %(similarities)s::float8[], %(coverages)s::float8[],
                      %(meaning_ranks)s::int[], %(words_ranks)s::int[])
               WITH ORDINALITY AS given (id, score, similarity, coverage, meaning_rank, words_rank, place)
          JOIN knowledge_chunks c ON c.id = given.id
         ORDER BY given.place
        """,
        ids=[one.chunk_id for one in found],
        scores=[one.score for one in found],
        similarities=[one.similarity for one in found],
        coverages=[one.coverage for one in found],
        meaning_ranks=[one.meaning_rank for one in found],
        words_ranks=[one.words_rank for one in found],
    )
