"""Keeping a reading: the new version, and everything that follows from it, in one transaction."""

from collections.abc import Sequence
from datetime import date, datetime, time, timedelta
from typing import Any, Literal
from uuid import UUID
from zoneinfo import ZoneInfo

from pydantic import Field

from memory.db import Json, Tx
from memory.rows import In, Row
from tools import advising, contact_facts, knowledge, playbook, promises
from tools.analysis import claims
from tools.promises import NewPromise

Kind = Literal["fact", "buying_signal", "concern", "objection"]


class NewItem(In):
    """Something learned about the company, with the words it was read from."""

    kind: Kind
    fact_type: Literal["business", "concern"] | None = None
    text: str = Field(min_length=1, max_length=1000)
    detail: dict[str, Any] = {}
    quote: str
    confidence: float = Field(ge=0, le=1)


class ThreadView(In):
    """What a conversation shows of its newest message."""

    ai_priority: Literal["high", "medium", "low"]
    ai_category: str
    ai_sentiment: Literal["positive", "neutral", "negative", "urgent"]
    ai_thread_summary: str
    ai_suggested_action: str
    ai_evidence_quotes: list[str] = []
    signals: dict[str, Any] = {}


class NewAnalysis(In):
    """One reading of one communication, checked and ready to be kept."""

    engine: str
    model_used: str | None
    prompt_key: str
    prompt_version: int
    ai_call_id: UUID | None
    run_id: UUID | None
    summary: str
    communication_type: str
    playbook_trigger: str
    request_type: str
    products_discussed: list[str]
    sentiment: str
    sentiment_score: float
    sentiment_confidence: float
    urgency: str
    key_questions: list[dict[str, Any]]
    extracted_facts: list[dict[str, Any]]
    extracted_signals: list[dict[str, Any]]
    extracted_objections: list[dict[str, Any]]
    extracted_commitments_us: list[dict[str, Any]]
    extracted_commitments_them: list[dict[str, Any]]
    extracted_competitors: list[dict[str, Any]]
    extracted_next_steps: list[dict[str, Any]]
    potential_triggers: list[str]
    flags: dict[str, bool]
    overall_confidence: float
    promises: list[NewPromise]
    items: list[NewItem]
    fulfilled_promise_ids: list[UUID]
    thread: ThreadView
    away_until: date | None = None


class SavedRow(Row):
    """What was kept."""

    analysis_id: UUID
    version: int
    promises: int
    fulfilled: int
    items: int


class _Place(Row):
    user_id: UUID
    company_id: UUID | None
    contact_id: UUID | None
    deal_id: UUID | None
    thread_id: str
    direction: str
    occurred_at: datetime
    timezone: str


async def save_analysis(tx: Tx, communication_id: UUID, claimed_at: datetime, reading: NewAnalysis) -> SavedRow:
    """
    Make the reading the current version: promises, items, due answers, the conversation and stale summaries with it.

    Raises `claims.ClaimLost`; nothing is kept then.
    """
    await claims.hold(tx, communication_id, claimed_at)
    place = await _place(tx, communication_id)
    version, analysis_id = await _insert_version(tx, communication_id, reading)
    kept = await promises.upsert_promises(tx, communication_id, analysis_id, reading.promises)
    fulfilled = await promises.complete_promises(tx, reading.fulfilled_promise_ids, communication_id)
    items = await _keep_items(tx, communication_id, analysis_id, place, reading.items)
    await _conclude(tx, communication_id, analysis_id, place, reading)
    await _show_in_thread(tx, place, reading)
    await _outdate_summaries(tx, place)
    await _log(tx, communication_id, place, reading, version, promises=len(kept), fulfilled=fulfilled)
    await knowledge.promise_collecting(tx)
    await advising.promise_advice(tx, communication_id)
    return SavedRow(analysis_id=analysis_id, version=version, promises=len(kept), fulfilled=fulfilled, items=items)


async def _place(tx: Tx, communication_id: UUID) -> _Place:
    return await tx.one(
        _Place,
        """
        SELECT m.user_id, m.company_id, m.contact_id, m.deal_id, m.thread_id, m.direction, m.occurred_at, u.timezone
          FROM communications m JOIN users u ON u.id = m.user_id
         WHERE m.id = %(communication_id)s
        """,
        communication_id=communication_id,
    )


class _Version(Row):
    id: UUID
    version: int


async def _insert_version(tx: Tx, communication_id: UUID, reading: NewAnalysis) -> tuple[int, UUID]:
    await tx.run(
        "UPDATE communication_analysis SET is_current = false WHERE communication_id = %(communication_id)s AND is_current",
        communication_id=communication_id,
    )
    values: dict[str, Any] = reading.model_dump(
        exclude={"promises", "items", "fulfilled_promise_ids", "thread", "away_until"}
    )
    jsons = {
        name: Json(value)
        for name, value in values.items()
        if name.startswith("extracted_") or name in ("key_questions", "flags")
    }
    params: dict[str, Any] = values | jsons
    made = await tx.one(
        _Version,
        """
        INSERT INTO communication_analysis (communication_id, version, is_current, engine, model_used, prompt_key, prompt_version, ai_call_id,
            run_id, summary, communication_type, playbook_trigger, request_type, products_discussed, sentiment, sentiment_score,
            sentiment_confidence, urgency, key_questions, extracted_facts, extracted_signals, extracted_objections,
            extracted_commitments_us, extracted_commitments_them, extracted_competitors, extracted_next_steps, potential_triggers, flags,
            overall_confidence, analyzed_at)
        SELECT %(communication_id)s, coalesce(max(a.version), 0) + 1, true, %(engine)s, %(model_used)s, %(prompt_key)s, %(prompt_version)s,
               %(ai_call_id)s, %(run_id)s, %(summary)s, %(communication_type)s, %(playbook_trigger)s, %(request_type)s,
               %(products_discussed)s, %(sentiment)s, %(sentiment_score)s, %(sentiment_confidence)s, %(urgency)s, %(key_questions)s,
               %(extracted_facts)s, %(extracted_signals)s, %(extracted_objections)s, %(extracted_commitments_us)s,
               %(extracted_commitments_them)s, %(extracted_competitors)s, %(extracted_next_steps)s, %(potential_triggers)s, %(flags)s,
               %(overall_confidence)s, %(now)s
          FROM communication_analysis a WHERE a.communication_id = %(communication_id)s
        RETURNING id, version
        """,
        communication_id=communication_id,
        **params,
    )
    return made.version, made.id


async def _keep_items(
    tx: Tx, communication_id: UUID, analysis_id: UUID, place: _Place, items: Sequence[NewItem]
) -> int:
    """Keep what was learned about a known company; what a person has retracted does not come back."""
    if not items or (place.company_id is None and place.contact_id is None):
        return 0
    rows = {(item.kind, contact_facts.hash_text(item.text)): item for item in items}
    return await tx.run(
        """
        INSERT INTO relationship_items AS i (company_id, contact_id, deal_id, kind, fact_type, text, detail, quote, confidence, source_type,
            source_id, source_analysis_id, occurred_at, text_hash)
        SELECT %(company_id)s, %(contact_id)s, %(deal_id)s, n.kind, n.fact_type, n.text, n.detail, n.quote, n.confidence, 'email',
               %(communication_id)s, %(analysis_id)s, %(occurred_at)s, n.text_hash
          FROM jsonb_to_recordset(%(items)s) AS n (kind text, fact_type text, text text, detail jsonb, quote text, confidence numeric, text_hash text)
         WHERE NOT EXISTS (SELECT FROM relationship_items r
                            WHERE r.company_id IS NOT DISTINCT FROM %(company_id)s::uuid AND r.contact_id IS NOT DISTINCT FROM %(contact_id)s::uuid
                              AND r.kind = n.kind AND r.text_hash = n.text_hash AND r.status = 'retracted')
        ON CONFLICT (company_id, contact_id, kind, text_hash) WHERE status = 'active' DO UPDATE
           SET confidence = greatest(i.confidence, excluded.confidence), detail = excluded.detail,
               source_analysis_id = excluded.source_analysis_id, updated_at = %(now)s
        """,
        company_id=place.company_id,
        contact_id=place.contact_id,
        deal_id=place.deal_id,
        communication_id=communication_id,
        analysis_id=analysis_id,
        occurred_at=place.occurred_at,
        items=Json([item.model_dump(mode="json") | {"text_hash": text_hash} for (_, text_hash), item in rows.items()]),
    )


async def _conclude(tx: Tx, communication_id: UUID, analysis_id: UUID, place: _Place, reading: NewAnalysis) -> None:
    """
    Mark the communication as read, and let the playbook say until when it wants an answer.

    What has been answered, or followed by a message of the other side, waits for nobody.
    """
    play = playbook.find_play(reading.playbook_trigger)
    wants_answer = reading.flags.get("requires_response", False)
    await tx.run(
        """
        WITH later AS (
            SELECT bool_or(o.direction = 'outbound') AS answered, bool_or(o.direction = 'inbound') AS replied
              FROM communications o
             WHERE o.user_id = %(user_id)s AND o.thread_id = %(thread_id)s AND o.occurred_at > %(occurred_at)s AND o.noise_type IS NULL)
        UPDATE communications m
           SET analysis_status = 'complete', analysis_claimed_at = NULL, analysis_error = NULL, current_analysis_id = %(analysis_id)s,
               awaiting_our_response = CASE WHEN m.direction <> 'inbound' THEN m.awaiting_our_response
                   ELSE %(wants_answer)s AND m.responded_at IS NULL AND m.excluded_at IS NULL AND NOT coalesce(later.answered, false) END,
               response_sla_minutes = CASE WHEN m.direction = 'inbound' AND %(wants_answer)s THEN %(sla_minutes)s ELSE m.response_sla_minutes END,
               response_due_by = CASE WHEN m.direction <> 'inbound' THEN m.response_due_by
                   WHEN %(wants_answer)s THEN m.occurred_at + make_interval(mins => %(sla_minutes)s) END,
               awaiting_their_response = CASE WHEN m.direction <> 'outbound' THEN m.awaiting_their_response
                   ELSE %(asks)s AND NOT coalesce(later.replied, false) END
          FROM later
         WHERE m.id = %(communication_id)s
        """,
        communication_id=communication_id,
        analysis_id=analysis_id,
        user_id=place.user_id,
        thread_id=place.thread_id,
        occurred_at=place.occurred_at,
        wants_answer=wants_answer,
        asks=bool(reading.key_questions),
        sla_minutes=play.sla_minutes,
    )


async def _show_in_thread(tx: Tx, place: _Place, reading: NewAnalysis) -> None:
    """Bring the conversation up to its newest message; an older one read later changes nothing there."""
    back = reading.away_until and datetime.combine(
        reading.away_until + timedelta(days=1), time(), ZoneInfo(place.timezone)
    )
    await tx.run(
        """
        UPDATE email_conversations v
           SET ai_priority = %(ai_priority)s, ai_category = %(ai_category)s, ai_sentiment = %(ai_sentiment)s,
               ai_sentiment_trend = CASE WHEN before.score IS NULL THEN coalesce(v.ai_sentiment_trend, 'stable')
                   WHEN %(score)s - before.score > 0.25 THEN 'improving' WHEN %(score)s - before.score < -0.25 THEN 'declining' ELSE 'stable' END,
               ai_thread_summary = %(ai_thread_summary)s, ai_suggested_action = %(ai_suggested_action)s,
               ai_evidence_quotes = %(ai_evidence_quotes)s, signals = v.signals || %(signals)s, analyzed_through_at = %(occurred_at)s,
               response_due_at = CASE WHEN %(back)s::timestamptz IS NOT NULL THEN %(back)s::timestamptz
                   WHEN due.by IS NOT NULL THEN due.by WHEN %(direction)s = 'inbound' THEN NULL ELSE v.response_due_at END,
               sla_status = CASE WHEN %(back)s::timestamptz IS NOT NULL THEN 'ok' ELSE v.sla_status END,
               updated_at = %(now)s
          FROM (SELECT (SELECT a.sentiment_score FROM communications o JOIN communication_analysis a ON a.id = o.current_analysis_id
                         WHERE o.user_id = %(user_id)s AND o.thread_id = %(thread_id)s AND o.direction = 'inbound'
                           AND o.occurred_at < %(occurred_at)s ORDER BY o.occurred_at DESC LIMIT 1)::float AS score) before,
               (SELECT (SELECT min(o.response_due_by) FROM communications o
                         WHERE o.user_id = %(user_id)s AND o.thread_id = %(thread_id)s AND o.awaiting_our_response) AS by) due
         WHERE v.user_id = %(user_id)s AND v.conversation_id = %(thread_id)s
           AND coalesce(v.analyzed_through_at <= %(occurred_at)s, true)
        """,
        user_id=place.user_id,
        thread_id=place.thread_id,
        direction=place.direction,
        occurred_at=place.occurred_at,
        score=reading.sentiment_score,
        back=back,
        **(reading.thread.model_dump() | {"signals": Json(reading.thread.signals)}),
    )


async def _outdate_summaries(tx: Tx, place: _Place) -> None:
    await tx.run(
        """
        UPDATE ai_summaries SET stale = true, updated_at = %(now)s
         WHERE NOT stale AND (company_id = %(company_id)s OR contact_id = %(contact_id)s OR deal_id = %(deal_id)s
               OR deal_id IN (SELECT id FROM deals WHERE company_id = %(company_id)s))
        """,
        company_id=place.company_id,
        contact_id=place.contact_id,
        deal_id=place.deal_id,
    )


async def _log(
    tx: Tx, communication_id: UUID, place: _Place, reading: NewAnalysis, version: int, *, promises: int, fulfilled: int
) -> None:
    await tx.run(
        """
        INSERT INTO ai_action_log (source, action_type, status, user_id, company_id, contact_id, deal_id, communication_id, ai_call_id, run_id,
            outputs, idempotency_key, completed_at, created_at)
        VALUES ('communications', 'ANALYSIS_COMPLETED', 'success', %(user_id)s, %(company_id)s, %(contact_id)s, %(deal_id)s,
                %(communication_id)s, %(ai_call_id)s, %(run_id)s, %(outputs)s, %(key)s, %(now)s, %(now)s)
        ON CONFLICT (idempotency_key) DO NOTHING
        """,
        user_id=place.user_id,
        company_id=place.company_id,
        contact_id=place.contact_id,
        deal_id=place.deal_id,
        communication_id=communication_id,
        ai_call_id=reading.ai_call_id,
        run_id=reading.run_id,
        outputs=Json({"version": version, "engine": reading.engine, "trigger": reading.playbook_trigger, "urgency": reading.urgency,
                      "sentiment": reading.sentiment, "promises": promises, "fulfilled": fulfilled}),
        key=f"analysis:{communication_id}:{version}",
    )  # fmt: skip
