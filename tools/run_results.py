"""What runs have come to: the rows they wrote, the quotes these rest on, and the words of what was read."""

from collections.abc import Sequence
from datetime import datetime
from typing import Literal
from uuid import UUID

from memory.callers import Caller
from memory.db import Tx
from memory.rows import Row
from tools import activities, deals, runs
from tools.communications import rows as messages

LONGEST_TEXT = 20_000


class QuoteRow(Row):
    """Words of a source that something rests on; `about` says what they are: a question, a promise, a risk."""

    record: str
    id: UUID | None
    quote: str
    about: str


class ResultRow(Row):
    """One row that a run has written."""

    kind: Literal["summary", "analysis", "draft", "triage", "match_review", "action"]
    id: UUID
    title: str
    engine: str | None
    prompt_key: str | None
    prompt_version: int | None
    made_at: datetime
    quotes: list[QuoteRow]


class SourceText(Row):
    """What a source says, as far as its reader may see it."""

    id: UUID
    record: Literal["communication", "activity", "note", "task"]
    title: str | None
    who: str | None
    text: str
    occurred_at: datetime | None


class SubjectName(Row):
    """What a record is called."""

    id: UUID
    kind: Literal["company", "contact", "deal", "communication"]
    name: str


async def list_results(tx: Tx, caller: Caller, run_id: UUID) -> list[ResultRow]:
    """
    Return what the run has written, in its order, as far as the caller may see it.

    Raises `RunNotFound`.
    """
    await runs.get_run(tx, caller, run_id)
    return await tx.many(
        ResultRow,
        f"""
        SELECT 'summary' AS kind, s.id, replace(s.summary_type, '_', ' ') AS title, s.engine, s.prompt_key, s.prompt_version,
               s.generated_at AS made_at,
               coalesce((SELECT jsonb_agg(jsonb_build_object('record', c ->> 'type', 'id', c ->> 'id', 'quote', c ->> 'quote',
                                                             'about', 'summary'))
                           FROM jsonb_array_elements(CASE jsonb_typeof(s.sources) WHEN 'array' THEN s.sources ELSE '[]' END) AS c
                          WHERE coalesce(c ->> 'quote', '') <> ''), '[]') AS quotes
          FROM ai_summaries s
         WHERE s.run_id = %(run_id)s AND (%(scope)s::uuid IS NULL OR s.audience_id = %(scope)s)
        UNION ALL
        SELECT 'analysis', a.id, coalesce(m.subject, m.channel), a.engine, a.prompt_key, a.prompt_version, a.analyzed_at,
               coalesce((SELECT jsonb_agg(jsonb_build_object('record', 'communication', 'id', m.id, 'quote', item ->> 'quote',
                                                             'about', part.about))
                           FROM (VALUES ('question', a.key_questions), ('fact', a.extracted_facts),
                                        ('signal', a.extracted_signals), ('objection', a.extracted_objections),
                                        ('our promise', a.extracted_commitments_us),
                                        ('their promise', a.extracted_commitments_them),
                                        ('competitor', a.extracted_competitors),
                                        ('next step', a.extracted_next_steps)) AS part (about, items)
                          CROSS JOIN jsonb_array_elements(part.items) AS item
                          WHERE coalesce(item ->> 'quote', '') <> ''), '[]')
          FROM communication_analysis a JOIN communications m ON m.id = a.communication_id
         WHERE a.run_id = %(run_id)s AND {messages.VISIBLE}
        UNION ALL
        SELECT 'draft', d.id, d.subject, d.engine, d.prompt_key, d.prompt_version, d.created_at, '[]'
          FROM email_drafts d WHERE d.run_id = %(run_id)s AND (%(scope)s::uuid IS NULL OR d.user_id = %(scope)s)
        UNION ALL
        SELECT 'triage', g.id, concat_ws(': ', lower(replace(g.decision, '_', ' ')), m.subject), g.engine, g.prompt_key, g.prompt_version,
               g.created_at, '[]'
          FROM triage_decisions g JOIN communications m ON m.id = g.communication_id
         WHERE g.run_id = %(run_id)s AND {messages.VISIBLE}
        UNION ALL
        SELECT 'match_review', e.id, concat_ws(': ', 'put to a person', m.subject), e.engine, e.prompt_key, e.prompt_version, e.created_at, '[]'
          FROM entity_match_reviews e JOIN communications m ON m.id = e.subject_id
         WHERE e.run_id = %(run_id)s AND {messages.VISIBLE}
        UNION ALL
        SELECT 'action', l.id, lower(replace(l.action_type, '_', ' ')), NULL, l.prompt_key, l.prompt_version, l.created_at, '[]'
          FROM ai_action_log l
         WHERE l.run_id = %(run_id)s AND (%(scope)s::uuid IS NULL OR l.user_id = %(scope)s)
         ORDER BY 7, 1, 2 LIMIT 200
        """,
        run_id=run_id,
        scope=caller.scope,
    )


async def read_sources(tx: Tx, caller: Caller, ids: Sequence[UUID]) -> list[SourceText]:
    """Return what these records say; one that the caller may not see is not among them."""
    if not ids:
        return []
    return await tx.many(
        SourceText,
        f"""
        SELECT m.id, 'communication' AS record, m.subject AS title, coalesce(m.sender_name, m.sender_email) AS who,
               left(coalesce(m.full_content, m.content_preview, ''), %(longest)s) AS text, m.occurred_at
          FROM communications m
         WHERE m.id = ANY(%(ids)s) AND m.excluded_at IS NULL AND {messages.VISIBLE}
        UNION ALL
        SELECT a.id, 'activity', a.subject, u.name, left(coalesce({activities.BODY}, a.subject, ''), %(longest)s), a.occurred_at
          FROM activities a LEFT JOIN users u ON u.id = a.user_id
         WHERE a.id = ANY(%(ids)s) AND {activities.VISIBLE}
        UNION ALL
        SELECT n.id, 'note', n.context_type, u.name, n.note, n.added_at
          FROM relationship_notes n LEFT JOIN users u ON u.id = n.added_by
         WHERE n.id = ANY(%(ids)s) AND n.deleted_at IS NULL
        UNION ALL
        SELECT t.id, 'task', t.title, NULL, concat_ws(E'\\n', t.title, t.description), t.created_at
          FROM tasks t
         WHERE t.id = ANY(%(ids)s) AND t.deleted_at IS NULL
           AND (%(scope)s::uuid IS NULL OR t.assigned_to = %(scope)s OR t.created_by = %(scope)s)
        """,
        ids=list(ids),
        longest=LONGEST_TEXT,
        scope=caller.scope,
    )


async def name_subjects(tx: Tx, caller: Caller, ids: Sequence[UUID]) -> dict[UUID, SubjectName]:
    """Return what these companies, contacts, deals and communications are called, where the caller may see them."""
    if not ids:
        return {}
    found = await tx.many(
        SubjectName,
        f"""
        SELECT c.id, 'company' AS kind, c.name FROM companies c WHERE c.id = ANY(%(ids)s)
        UNION ALL
        SELECT p.id, 'contact', p.name FROM contacts p WHERE p.id = ANY(%(ids)s)
        UNION ALL
        SELECT d.id, 'deal', d.name FROM deals d WHERE d.id = ANY(%(ids)s) AND {deals.VISIBLE}
        UNION ALL
        SELECT m.id, 'communication', coalesce(nullif(m.subject, ''), m.channel) FROM communications m
         WHERE m.id = ANY(%(ids)s) AND {messages.VISIBLE}
        """,
        ids=list(ids),
        scope=caller.scope,
    )
    return {subject.id: subject for subject in found}
