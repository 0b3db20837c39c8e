"""From a result of an agent back to the words it was asked with: prompt and version, call, run, and what it was read from."""

from datetime import datetime
from typing import Literal
from uuid import UUID

from memory.callers import Caller
from memory.db import Tx
from memory.errors import NotFound
from memory.rows import Row
from tools.ai_calls import CALL, CallRow

Kind = Literal[
    "summary",
    "analysis",
    "draft",
    "promise",
    "relationship_item",
    "triage",
    "match_review",
    "suggestion",
    "action",
    "call",
]


class ResultNotFound(NotFound):
    """There is no result of an agent with the id {result_id}."""


class TracedResult(Row):
    """The result itself, and the records it concerns."""

    kind: Kind
    id: UUID
    title: str
    engine: str | None
    model: str | None
    created_at: datetime
    company_id: UUID | None
    contact_id: UUID | None
    deal_id: UUID | None
    communication_id: UUID | None
    analysis_id: UUID | None


class TracedPrompt(Row):
    """
    The version whose words were asked; `prompt_id` is None for words of a file that the database never held.

    `is_active` says whether that version still answers, `active_version` which one does.
    """

    key: str
    version: int
    source: Literal["database", "file"]
    prompt_id: UUID | None
    name: str | None
    is_active: bool
    active_version: int | None


class TracedRun(Row):
    """The run that made it."""

    id: UUID
    agent: str
    status: str
    created_at: datetime


class TracedSource(Row):
    """What it was read from, with the words that carry it where they are known."""

    type: str
    id: UUID | None
    title: str | None
    quote: str | None


class TraceOut(Row):
    """Everything behind one result; parts that were never known, or are forgotten by now, are None."""

    result: TracedResult
    prompt: TracedPrompt | None
    run: TracedRun | None
    call: CallRow | None
    sources: list[TracedSource]


class _Found(TracedResult):
    """A result with the ways that lead on."""

    prompt_key: str | None
    prompt_version: int | None
    ai_call_id: UUID | None
    run_id: UUID | None
    sources: list[TracedSource]


# One branch per table, each by its primary key; the rows of others are left out.
FOUND = """
    SELECT 'summary' AS kind, s.id, s.summary_type || ': ' || coalesce(s.summary ->> 'headline', '') AS title, s.engine, s.model_used AS model,
           s.generated_at AS created_at, s.company_id, s.contact_id, s.deal_id, NULL::uuid AS communication_id, NULL::uuid AS analysis_id,
           s.prompt_key, s.prompt_version, s.ai_call_id, s.run_id,
           (SELECT coalesce(json_agg(json_build_object('type', x ->> 'type', 'id', x ->> 'id', 'title', x ->> 'title', 'quote', x ->> 'quote')), '[]')
              FROM jsonb_array_elements(s.sources) x) AS sources
      FROM ai_summaries s WHERE s.id = %(result_id)s AND (%(scope)s::uuid IS NULL OR s.audience_id = %(scope)s)
    UNION ALL
    SELECT 'analysis', a.id, coalesce(a.summary, m.subject, ''), a.engine, a.model_used, a.analyzed_at, m.company_id, m.contact_id, m.deal_id,
           m.id, a.id, a.prompt_key, a.prompt_version, a.ai_call_id, a.run_id,
           (SELECT json_agg(json_build_object('type', 'communication', 'id', m.id, 'title', m.subject, 'quote', q.quote))
              FROM (SELECT DISTINCT x ->> 'quote' AS quote
                      FROM jsonb_array_elements(a.key_questions || a.extracted_facts || a.extracted_signals || a.extracted_objections
                               || a.extracted_commitments_us || a.extracted_commitments_them || a.extracted_competitors
                               || a.extracted_next_steps) x
                     WHERE x ->> 'quote' <> ''
                    UNION ALL SELECT NULL) q)
      FROM communication_analysis a JOIN communications m ON m.id = a.communication_id
     WHERE a.id = %(result_id)s AND (%(scope)s::uuid IS NULL OR m.user_id = %(scope)s)
    UNION ALL
    SELECT 'draft', f.id, f.subject, f.engine, NULL, f.created_at, m.company_id, m.contact_id, m.deal_id, f.communication_id, NULL,
           f.prompt_key, f.prompt_version, f.ai_call_id, f.run_id,
           (SELECT coalesce(json_agg(json_build_object('type', 'communication', 'id', o.id, 'title', o.subject, 'quote', NULL)), '[]')
              FROM communications o
             WHERE o.id::text IN (SELECT jsonb_array_elements_text(
                       CASE jsonb_typeof(f.generation_context -> 'sources') WHEN 'array' THEN f.generation_context -> 'sources' ELSE '[]' END))
               AND (%(scope)s::uuid IS NULL OR o.user_id = %(scope)s))
      FROM email_drafts f LEFT JOIN communications m ON m.id = f.communication_id
     WHERE f.id = %(result_id)s AND (%(scope)s::uuid IS NULL OR f.user_id = %(scope)s)
    UNION ALL
    SELECT 'promise', p.id, p.promise_text, a.engine, a.model_used, p.created_at, p.company_id, p.contact_id, p.deal_id,
           p.source_communication_id, a.id, a.prompt_key, a.prompt_version, a.ai_call_id, a.run_id,
           json_build_array(json_build_object('type', 'communication', 'id', m.id, 'title', m.subject, 'quote', p.quote))
      FROM promises p LEFT JOIN communication_analysis a ON a.id = p.source_analysis_id
      LEFT JOIN communications m ON m.id = p.source_communication_id
     WHERE p.id = %(result_id)s AND (%(scope)s::uuid IS NULL OR p.owner_user_id = %(scope)s)
    UNION ALL
    SELECT 'relationship_item', i.id, i.text, a.engine, a.model_used, i.created_at, i.company_id, i.contact_id, i.deal_id, m.id, a.id,
           a.prompt_key, a.prompt_version, a.ai_call_id, a.run_id,
           json_build_array(json_build_object('type', 'communication', 'id', m.id, 'title', m.subject, 'quote', i.quote))
      FROM relationship_items i JOIN communication_analysis a ON a.id = i.source_analysis_id
      JOIN communications m ON m.id = a.communication_id
     WHERE i.id = %(result_id)s AND (%(scope)s::uuid IS NULL OR m.user_id = %(scope)s)
    UNION ALL
    SELECT 'triage', d.id, d.decision || coalesce(': ' || d.reason, ''), d.engine, NULL, d.created_at, d.company_id, d.contact_id, NULL,
           m.id, NULL, d.prompt_key, d.prompt_version, d.ai_call_id, d.run_id,
           json_build_array(json_build_object('type', 'communication', 'id', m.id, 'title', m.subject, 'quote', NULL))
      FROM triage_decisions d JOIN communications m ON m.id = d.communication_id
     WHERE d.id = %(result_id)s AND d.decided_by_kind = 'ai' AND (%(scope)s::uuid IS NULL OR m.user_id = %(scope)s)
    UNION ALL
    SELECT 'match_review', r.id, coalesce(r.reasoning, r.status), r.engine, NULL, r.created_at, r.proposed_company_id, r.proposed_contact_id,
           r.proposed_deal_id, m.id, NULL, r.prompt_key, r.prompt_version, r.ai_call_id, r.run_id,
           json_build_array(json_build_object('type', 'communication', 'id', m.id, 'title', m.subject, 'quote', NULL))
      FROM entity_match_reviews r JOIN communications m ON m.id = r.subject_id
     WHERE r.id = %(result_id)s AND (%(scope)s::uuid IS NULL OR m.user_id = %(scope)s)
    UNION ALL
    SELECT 'suggestion', g.suggestion_id, g.title, c.engine, c.model, g.suggested_at, p.company_id, NULL, NULL, e.communication_id, NULL,
           c.prompt_key, c.prompt_version, c.id, g.run_id::uuid,
           (SELECT coalesce(json_agg(json_build_object('type', 'communication', 'id', m.id, 'title', m.subject, 'quote', e.quote)), '[]')
              FROM communications m
             WHERE m.id = e.communication_id AND (%(scope)s::uuid IS NULL OR m.user_id = %(scope)s))
      FROM ai_suggestions_read_model g JOIN company_product_read_model p ON p.company_product_id = g.company_product_id
      LEFT JOIN suggestion_evidence e ON e.suggestion_id = g.suggestion_id
      LEFT JOIN LATERAL (SELECT k.* FROM ai_calls k WHERE k.run_id = g.run_id::uuid AND k.status = 'ok'
                          ORDER BY k.created_at DESC LIMIT 1) c ON true
     WHERE g.suggestion_id = %(result_id)s AND g.suggested_by_type = 'ai'
       AND (%(scope)s::uuid IS NULL OR p.owner_id IS NULL OR p.owner_id = %(scope)s)
    UNION ALL
    SELECT 'action', l.id, l.action_type || ', ' || l.status, l.outputs ->> 'engine', NULL, l.created_at, l.company_id, l.contact_id,
           l.deal_id, l.communication_id, NULL, l.prompt_key, l.prompt_version, l.ai_call_id, l.run_id,
           (SELECT coalesce(json_agg(json_build_object('type', 'communication', 'id', m.id, 'title', m.subject, 'quote', NULL)), '[]')
              FROM communications m
             WHERE m.id = l.communication_id AND (%(scope)s::uuid IS NULL OR m.user_id = %(scope)s))
      FROM ai_action_log l WHERE l.id = %(result_id)s AND (%(scope)s::uuid IS NULL OR l.user_id = %(scope)s)
    UNION ALL
    SELECT 'call', c.id, c.capability || ', ' || c.status, c.engine, c.model, c.created_at, c.company_id, c.contact_id, c.deal_id,
           c.communication_id, NULL, c.prompt_key, c.prompt_version, c.id, c.run_id,
           (SELECT coalesce(json_agg(json_build_object('type', 'communication', 'id', m.id, 'title', m.subject, 'quote', NULL)), '[]')
              FROM communications m
             WHERE m.id = c.communication_id AND (%(scope)s::uuid IS NULL OR m.user_id = %(scope)s))
      FROM ai_calls c WHERE c.id = %(result_id)s AND (%(scope)s::uuid IS NULL OR c.user_id = %(scope)s)
"""


async def get_trace(tx: Tx, caller: Caller, result_id: UUID) -> TraceOut:
    """
    Return what is behind a result: any id of a summary, analysis, draft, promise, action, call ...

    Raises `ResultNotFound`, also for results that the caller may not see.
    """
    found = await find_trace(tx, caller, result_id)
    if found is None:
        raise ResultNotFound(result_id=result_id)
    return found


async def find_trace(tx: Tx, caller: Caller, result_id: UUID) -> TraceOut | None:
    """Return what is behind a result, or None where the caller sees no such result."""
    found = await tx.maybe(_Found, FOUND, result_id=result_id, scope=caller.scope)
    if found is None:
        return None
    call = await _find_call(tx, found)
    return TraceOut(
        result=TracedResult.model_validate(found),
        prompt=await _find_prompt(tx, found, call),
        run=await tx.maybe(
            TracedRun,
            "SELECT id, agent, status, created_at FROM agent_runs WHERE id = %(run_id)s",
            run_id=found.run_id,
        ),
        call=call,
        sources=found.sources,
    )


async def _find_call(tx: Tx, found: _Found) -> CallRow | None:
    """Return the call that is named, else the last one of the run that was answered with the same words."""
    return await tx.maybe(
        CallRow,
        f"""
        SELECT {CALL} FROM ai_calls c
         WHERE c.id = %(call_id)s
            OR %(call_id)s::uuid IS NULL AND c.run_id = %(run_id)s AND c.prompt_key = %(key)s AND c.prompt_version = %(version)s
               AND c.status = 'ok'
         ORDER BY c.created_at DESC LIMIT 1
        """,
        call_id=found.ai_call_id,
        run_id=found.run_id,
        key=found.prompt_key,
        version=found.prompt_version,
    )


async def _find_prompt(tx: Tx, found: _Found, call: CallRow | None) -> TracedPrompt | None:
    key, version = found.prompt_key, found.prompt_version
    if call is not None and key is None:
        key, version = call.prompt_key, call.prompt_version
    if key is None or version is None:
        return None
    kept = await tx.maybe(
        TracedPrompt,
        """
        SELECT p.key, v.version, 'database' AS source, p.id AS prompt_id, p.name, p.active_version,
               p.is_active AND p.active_version IS NOT DISTINCT FROM v.version AS is_active
          FROM ai_prompts p JOIN ai_prompt_versions v ON v.prompt_id = p.id
         WHERE p.key = %(key)s AND v.version = %(version)s AND %(source)s <> 'file'
        """,
        key=key,
        version=version,
        source=call.prompt_source if call else "database",
    )
    if kept is not None:
        return kept
    return TracedPrompt(
        key=key, version=version, source="file", prompt_id=None, name=None, is_active=False, active_version=None
    )
